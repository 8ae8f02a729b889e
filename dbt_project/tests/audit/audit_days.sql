with candles as (

    select * from {{ ref('perpetuals_ohlcv') }}

),

counted as (

    select
        instrument,
        {{ utc_day('timestamp') }} as day,
        count(*) as candles,
        min(timestamp) as first_candle,
        max(timestamp) as last_candle,
        count(*) filter (where volume = 0) as fills,
        {{ count_violations() }} as violations,
        (array_agg(open order by timestamp))[1] as open,
        max(high) as high,
        min(low) as low,
        (array_agg(close order by timestamp desc))[1] as close,
        sum(volume) as volume
    from candles
    group by 1, 2

),

days as (

    select * from {{ ref('ohlcv_days') }}

),

final as (

    select
        coalesce(days.instrument, counted.instrument) as instrument,
        coalesce(days.day, counted.day) as day,
        days.candles as candles,
        counted.candles as candles_recounted
    from days
    full join counted
        on counted.instrument = days.instrument
        and counted.day = days.day
    where (
        coalesce(days.candles, -1), days.first_candle, days.last_candle, days.fills, days.violations,
        days.open, days.high, days.low, days.close, days.volume
    ) is distinct from (
        coalesce(counted.candles, 0), counted.first_candle, counted.last_candle, coalesce(counted.fills, 0), coalesce(counted.violations, 0),
        counted.open, counted.high, counted.low, counted.close, counted.volume
    )

    union all

    select 'no rows', null, null, null
    where not exists (select from candles)

)

select * from final
