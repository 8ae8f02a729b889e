with days as (

    select
        instrument,
        day
    from {{ ref('ohlcv_candle_days') }}
    where violations > 0

),

candles as (

    select candles.*
    from days
    cross join lateral (
        select * from {{ ref('perpetuals_ohlcv') }}
        where instrument = days.instrument
            and timestamp >= {{ day_open('days.day') }}
            and timestamp < {{ day_open('(days.day + 1)') }}
        -- keeps the plan a loop over days; a join would decompress every candle
        offset 0
    ) as candles

),

final as (

    {{ violations_sql('candles') }}

)

select * from final
