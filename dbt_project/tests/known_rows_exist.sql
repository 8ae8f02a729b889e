with entries as (

    select * from {{ ref('known_gaps') }}

),

known as (

    select
        *,
        {{ endpoint_of('entries') }} as of_endpoint
    from entries
    where {{ endpoint_of('entries') }} in ('funding', 'settlements')

),

gaps as (

    select
        'funding' as endpoint,
        *
    from {{ ref('funding_gaps') }}

    union all

    select
        'settlements' as endpoint,
        *
    from {{ ref('settlement_gaps') }}

),

rejected as (

    select * from {{ ref('rejected_rows') }}

),

{{ problems_of_entries() }},

final as (

    select * from problems

)

select * from final
