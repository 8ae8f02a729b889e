{%- set bucket = "interval '" ~ bucket_minutes() ~ " minutes'" %}

with candle_days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

lifetimes as (

    select
        instrument,
        min(first_candle) as first_candle,
        max(last_candle) as last_candle
    from candle_days
    group by instrument

),

-- buckets are counted from the first candle; a day has the buckets that open in it
calendar as (

    select
        lifetimes.instrument,
        days.day::date as day,
        tstzrange(
            greatest({{ day_first_bucket('days.day::date', 'lifetimes.first_candle') }}, lifetimes.first_candle),
            least({{ day_first_bucket('(days.day::date + 1)', 'lifetimes.first_candle') }}, lifetimes.last_candle + {{ bucket }})
        ) as buckets
    from lifetimes
    cross join lateral generate_series(
        {{ utc_day('lifetimes.first_candle') }}::timestamp,
        {{ utc_day('lifetimes.last_candle') }}::timestamp,
        interval '1 day'
    ) as days (day)

),

compared as (

    select
        calendar.instrument,
        calendar.day,
        coalesce(candle_days.candles, 0) as candles,
        extract(epoch from upper(calendar.buckets) - lower(calendar.buckets))::integer / {{ bucket_minutes() * 60 }} as expected,
        candle_days.first_candle,
        candle_days.last_candle,
        coalesce(candle_days.fills, 0) as fills,
        coalesce(candle_days.violations, 0) as violations,
        candle_days.open,
        candle_days.high,
        candle_days.low,
        candle_days.close,
        candle_days.volume,
        case
            when candle_days.candles * {{ bucket }} = upper(calendar.buckets) - lower(calendar.buckets) then '{}'::tstzmultirange
            when candle_days.candles is null then tstzmultirange(calendar.buckets)
            else tstzmultirange(calendar.buckets)
                - tstzmultirange(tstzrange(candle_days.first_candle, candle_days.last_candle + {{ bucket }}))
                + candle_days.missing
        end as missing
    from calendar
    left join candle_days
        on candle_days.instrument = calendar.instrument
        and candle_days.day = calendar.day

),

final as (

    select
        instrument,
        day,
        candles,
        expected,
        first_candle,
        last_candle,
        coalesce(
            (select extract(epoch from max(upper(hole) - lower(hole)))::integer / 60 from unnest(missing) as hole),
            0
        ) as largest_gap_minutes,
        fills,
        violations,
        open,
        high,
        low,
        close,
        volume,
        missing
    from compared

)

select * from final
