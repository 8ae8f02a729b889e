{{ config(severity='warn') }}

with perpetuals as (

    select * from {{ ref('perpetuals') }}

),

newest as (

    select
        instrument,
        'funding' as endpoint,
        last_row,
        interval '3 hours' as at_most
    from {{ ref('funding_coverage') }}

    union all

    select
        instrument,
        'settlements' as endpoint,
        last_row,
        interval '2 days' as at_most
    from {{ ref('settlement_coverage') }}

),

final as (

    select
        newest.endpoint,
        newest.instrument,
        newest.last_row,
        perpetuals.last_candle
    from newest
    inner join perpetuals on perpetuals.instrument = newest.instrument
    where perpetuals.ended_at is null
        and perpetuals.last_candle - newest.last_row > newest.at_most

)

select * from final
