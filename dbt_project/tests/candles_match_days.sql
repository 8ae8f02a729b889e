{%- set spans = checked_spans(ref('ohlcv_candle_days'), 'day') -%}
with days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

instruments as (

    select
        instrument,
        min(first_candle) as first_candle,
        max(last_candle) as last_candle
    from days
    group by instrument

),

ends as (

    select
        instruments.instrument,
        (
            select timestamp from {{ ref('perpetuals_ohlcv') }}
            where instrument = instruments.instrument
            order by timestamp limit 1
        ) as first_candle,
        (
            select timestamp from {{ ref('perpetuals_ohlcv') }}
            where instrument = instruments.instrument
            order by timestamp desc limit 1
        ) as last_candle
    from instruments

),

checked_candles as (

    {{ rows_in(spans, ref('perpetuals_ohlcv')) }}

),

counted as (

    select
        instrument,
        {{ utc_day('timestamp') }} as day,
        count(*) as candles,
        min(timestamp) as first_candle,
        max(timestamp) as last_candle,
        max(high) as high,
        min(low) as low,
        sum(volume) as volume
    from checked_candles
    group by 1, 2

),

checked_days as (

    {{ rows_in(spans, ref('ohlcv_candle_days'), 'day') }}

),

final as (

    select
        instruments.instrument,
        null::date as day,
        'first or last candle is another' as problem
    from instruments
    inner join ends on ends.instrument = instruments.instrument
    where (instruments.first_candle, instruments.last_candle) is distinct from (ends.first_candle, ends.last_candle)

    union all

    select
        coalesce(checked_days.instrument, counted.instrument),
        coalesce(checked_days.day, counted.day),
        'not what was built'
    from checked_days
    full join counted
        on counted.instrument = checked_days.instrument
        and counted.day = checked_days.day
    where (
        checked_days.candles, checked_days.first_candle, checked_days.last_candle,
        checked_days.high, checked_days.low, checked_days.volume
    ) is distinct from (
        counted.candles, counted.first_candle, counted.last_candle, counted.high, counted.low, counted.volume
    )

    union all

    select
        null,
        null,
        'no rows'
    where not exists (select from days)
        and {{ candles_wanted() }}

    union all

    select
        null,
        null,
        'ohlcv_candle_days is behind the table'
    where {{ is_behind('ohlcv_candle_days') }}

)

select * from final
