with settlements as (

    select * from {{ ref('perpetuals_settlements') }}

),

final as (

    select
        instrument,
        settlement_day,
        open_interest,
        'negative' as problem
    from settlements
    where open_interest < 0

    union all

    select
        null,
        null,
        null,
        'no rows'
    where not exists (select from settlements)
        and {{ rows_landed('settlements') }}

)

select * from final
