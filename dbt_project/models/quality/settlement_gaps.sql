with stored as not materialized (

    select
        instrument,
        {{ day_open('settlement_day') }} + interval '8 hours' as opens_at
    from {{ ref('perpetuals_settlements') }}

),

known_gaps as (

    select * from {{ ref('known_gaps') }}

),

{{ gaps_of_rows('perpetuals_settlements', 'settlements', '1 day', settlement_day_open('timestamp')) }},

final as (

    select
        instrument,
        gap_start,
        gap_end,
        (extract(epoch from missing) / extract(epoch from interval '1 day'))::integer as missing,
        reason,
        note,
        last_fetched_at
    from explained

)

select * from final
