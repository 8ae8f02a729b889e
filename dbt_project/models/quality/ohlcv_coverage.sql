with days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

perpetuals as (

    select * from {{ ref('perpetuals') }}

),

explained as (

    select
        instrument,
        (sum(extract(epoch from upper(missing) - lower(missing))) / {{ bucket_minutes() * 60 }})::bigint as known
    from {{ ref('ohlcv_missing') }}
    where is_known
    group by instrument

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
        (extract(epoch from max(last_candle) - min(first_candle)) / {{ bucket_minutes() * 60 }})::bigint + 1 as buckets
    from days
    group by instrument

),

expected as (

    select
        counted.*,
        coalesce(explained.known, 0) as known,
        counted.buckets - coalesce(explained.known, 0) as expected
    from counted
    left join explained on explained.instrument = counted.instrument

),

final as (

    select
        expected.instrument,
        expected.candles,
        expected.first_candle,
        expected.last_candle,
        expected.known,
        expected.expected,
        expected.expected - expected.candles as missing,
        trunc(100.0 * expected.candles / expected.expected, 4) as coverage_percent,
        {{ bucket_minutes() }} * greatest(
            floor(
                extract(epoch from least(clock.checked_at, perpetuals.ended_at) - expected.last_candle) / {{ bucket_minutes() * 60 }}
            )::integer - 1,
            0
        ) as tail_minutes,
        clock.checked_at
    from expected
    cross join clock
    left join perpetuals on perpetuals.instrument = expected.instrument

)

select * from final
