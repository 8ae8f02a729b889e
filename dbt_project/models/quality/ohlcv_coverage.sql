with days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

clock as (

    select ({{ exchange_clock() }}) as checked_at

),

counted as (

    select
        instrument,
        sum(candles)::bigint as candles,
        min(first_candle) as first_candle,
        max(last_candle) as last_candle,
        (extract(epoch from max(last_candle) - min(first_candle)) / {{ bucket_minutes() * 60 }})::bigint + 1 as expected
    from days
    group by instrument

),

final as (

    select
        counted.instrument,
        counted.candles,
        counted.first_candle,
        counted.last_candle,
        counted.expected,
        counted.expected - counted.candles as missing,
        trunc(100.0 * counted.candles / counted.expected, 4) as coverage_percent,
        {{ bucket_minutes() }} * greatest(
            floor(extract(epoch from clock.checked_at - counted.last_candle) / {{ bucket_minutes() * 60 }})::integer - 1,
            0
        ) as tail_minutes,
        clock.checked_at
    from counted
    cross join clock

)

select * from final
