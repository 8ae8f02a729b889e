with stored as not materialized (

    select
        instrument,
        {{ day_open('settlement_day') }} + interval '8 hours' as opens_at
    from {{ ref('perpetuals_settlements') }}

),

gaps as (

    select * from {{ ref('settlement_gaps') }}

),

{{ coverage_of_rows('1 day') }},

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
