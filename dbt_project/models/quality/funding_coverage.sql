with stored as not materialized (

    select
        instrument,
        timestamp as opens_at
    from {{ ref('perpetuals_funding') }}

),

gaps as (

    select * from {{ ref('funding_gaps') }}

),

{{ coverage_of_rows('1 hour') }},

final as (

    select
        instrument,
        rows,
        first_row,
        last_row,
        known,
        unfetched,
        rejected,
        source,
        expected,
        expected - rows as missing,
        trunc(100.0 * rows / expected, 4) as coverage_percent
    from covered

)

select * from final
