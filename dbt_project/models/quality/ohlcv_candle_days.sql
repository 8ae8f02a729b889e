{{ config(materialized='hypertable', meta={'time_column': 'day', 'grain_minutes': 1440}) }}

{%- set bucket = "interval '" ~ bucket_minutes() ~ " minutes'" %}
{%- set threshold = "interval '" ~ var('fill_run_minutes') | int ~ " minutes'" %}

with candles as (

    select
        *,
        {{ bucket_open('timestamp', minutes=1440, anchor='00') }} as day_opens_at
    from {{ ref('perpetuals_ohlcv') }}
    where {{ in_range() }}

),

counted as (

    select
        instrument,
        day_opens_at,
        count(*)::integer as candles,
        min(timestamp) as first_candle,
        max(timestamp) as last_candle,
        max(timestamp) filter (where volume > 0) as last_traded,
        count(*) filter (where volume = 0)::integer as fills,
        {{ count_violations() }}::integer as violations,
        first(open, timestamp)::numeric(18, 8) as open,
        max(high)::numeric(18, 8) as high,
        min(low)::numeric(18, 8) as low,
        last(close, timestamp)::numeric(18, 8) as close,
        sum(volume)::numeric(38, 8) as volume,
        coalesce(min(timestamp) filter (where volume <> 0) > min(timestamp), true)
        or coalesce(max(timestamp) filter (where volume <> 0) < max(timestamp), true) as is_filled
    from candles
    group by instrument, day_opens_at

),

-- only days with missing candles, long runs of fills, or fills at their ends need details
odd_days as (

    select
        instrument,
        day_opens_at
    from counted
    where candles * {{ bucket }} <> last_candle - first_candle + {{ bucket }}
        or fills * {{ bucket }} >= {{ threshold }}
        or is_filled

),

detailed as (

    select
        odd_days.instrument,
        odd_days.day_opens_at,
        range_agg(tstzrange(candles.timestamp, candles.timestamp + {{ bucket }})) as present,
        range_agg(tstzrange(candles.timestamp, candles.timestamp + {{ bucket }})) filter (where candles.volume = 0) as filled
    from odd_days
    cross join
        lateral (
            select * from {{ ref('perpetuals_ohlcv') }}
            where {{ in_range() }}
                and instrument = odd_days.instrument
                and timestamp >= odd_days.day_opens_at
                and timestamp < odd_days.day_opens_at + interval '1 day'
            -- keeps the plan a loop over days; a join would read every candle a second time
            order by timestamp
        ) as candles
    group by 1, 2

),

final as (

    select
        counted.instrument,
        {{ utc_day('counted.day_opens_at') }} as day,
        counted.candles,
        counted.first_candle,
        counted.last_candle,
        counted.last_traded,
        counted.fills,
        counted.violations,
        counted.open,
        counted.high,
        counted.low,
        counted.close,
        counted.volume,
        tstzmultirange(tstzrange(counted.first_candle, counted.last_candle + {{ bucket }}))
        - coalesce(detailed.present, tstzmultirange(tstzrange(counted.first_candle, counted.last_candle + {{ bucket }}))) as missing,
        (
            select coalesce(range_agg(run), '{}'::tstzmultirange)
            from unnest(detailed.filled) as run
            where upper(run) - lower(run) >= {{ threshold }}
                or lower(run) = counted.first_candle
                or upper(run) = counted.last_candle + {{ bucket }}
        ) as fill_runs
    from counted
    left join detailed
        on detailed.instrument = counted.instrument
        and detailed.day_opens_at = counted.day_opens_at

)

select * from final
