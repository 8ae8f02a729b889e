{{ config(severity='warn') }}

with funding as (

    select * from {{ ref('perpetuals_funding') }}
    where timestamp > (select max(timestamp) - interval '7 days' from {{ ref('perpetuals_funding') }})

),

typical as (

    select
        instrument,
        percentile_cont(0.5) within group (order by abs(interest_1h)) as typical_rate
    from funding
    group by instrument

),

final as (

    select
        funding.instrument,
        funding.timestamp,
        funding.interest_1h,
        typical.typical_rate
    from funding
    inner join typical on typical.instrument = funding.instrument
    where abs(funding.interest_1h) > 1e-3
        and abs(funding.interest_1h) > {{ var('jump_factor') }} * typical.typical_rate

)

select * from final
