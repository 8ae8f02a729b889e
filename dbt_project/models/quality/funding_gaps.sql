with stored as not materialized (

    select
        instrument,
        timestamp as opens_at
    from {{ ref('perpetuals_funding') }}

),

known_gaps as (

    select * from {{ ref('known_gaps') }}

),

{{ gaps_of_rows('perpetuals_funding', 'funding', '1 hour', bucket_open('timestamp', minutes=60, anchor='00')) }},

final as (

    select
        instrument,
        gap_start,
        gap_end,
        (extract(epoch from missing) / extract(epoch from interval '1 hour'))::integer as missing,
        reason,
        note,
        last_fetched_at
    from explained

)

select * from final
