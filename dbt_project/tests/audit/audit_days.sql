{#- Every day of ohlcv_days equals the day recomputed from perpetuals_ohlcv. -#}
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
        first(open, timestamp)::numeric(18, 8) as open,
        max(high) as high,
        min(low) as low,
        last(close, timestamp)::numeric(18, 8) as close,
        sum(volume) as volume
    from candles
    group by 1, 2

),

edges as (

    select
        instrument,
        min(first_candle) as first_candle,
        max(last_candle) as last_candle
    from counted
    group by instrument

),

-- buckets are numbered from the first candle; a day has the buckets after the last bucket of the day before
buckets as (

    select
        edges.instrument,
        days.day::date as day,
        {%- set number = "floor(extract(epoch from %s - edges.first_candle) / " ~ bucket_minutes() * 60 ~ ")" %}
        {{ number % ("least(" ~ day_open("(days.day + interval '1 day')") ~ " - interval '1 microsecond', edges.last_candle)") }}
        - greatest({{ number % (day_open('days.day') ~ " - interval '1 microsecond'") }}, -1) as expected
    from edges
    cross join lateral generate_series(
        {{ utc_day('edges.first_candle') }}::timestamp, {{ utc_day('edges.last_candle') }}::timestamp, interval '1 day'
    ) as days (day)

),

recounted as (

    select
        buckets.instrument,
        buckets.day,
        buckets.expected,
        coalesce(counted.candles, 0) as candles,
        coalesce(counted.fills, 0) as fills,
        coalesce(counted.violations, 0) as violations,
        counted.first_candle,
        counted.last_candle,
        counted.open,
        counted.high,
        counted.low,
        counted.close,
        counted.volume
    from buckets
    left join counted
        on counted.instrument = buckets.instrument
        and counted.day = buckets.day

),

days as (

    select
        *,
        (select max(upper(hole) - lower(hole)) from unnest(missing) as hole) as largest_hole,
        (select sum(upper(hole) - lower(hole)) from unnest(missing) as hole) as all_holes
    from {{ ref('ohlcv_days') }}

),

final as (

    select
        coalesce(days.instrument, recounted.instrument) as instrument,
        coalesce(days.day, recounted.day) as day,
        days.candles,
        recounted.candles as candles_recounted,
        days.expected,
        recounted.expected as expected_recounted
    from days
    full join recounted
        on recounted.instrument = days.instrument
        and recounted.day = days.day
    where (
        days.candles, days.expected, days.fills, days.violations, days.first_candle, days.last_candle,
        days.open, days.high, days.low, days.close, days.volume
    ) is distinct from (
        recounted.candles, recounted.expected, recounted.fills, recounted.violations, recounted.first_candle, recounted.last_candle,
        recounted.open, recounted.high, recounted.low, recounted.close, recounted.volume
    )
    or days.largest_gap_minutes <> coalesce(extract(epoch from days.largest_hole) / 60, 0)
    or coalesce(days.all_holes, interval '0') <> (days.expected - days.candles) * interval '{{ bucket_minutes() }} minutes'

    union all

    select
        'no rows',
        null,
        null,
        null,
        null,
        null
    where not exists (select from candles)
        and {{ candles_wanted() }}

)

select * from final
