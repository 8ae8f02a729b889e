{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['instrument', 'day'],
        on_schema_change='fail',
        full_refresh=false,
        pre_hook="{{ claim_loads_after('perpetuals_ohlcv') }}"
    )
}}

{%- set bucket = "interval '" ~ bucket_minutes() ~ " minutes'" %}
{%- set threshold = "interval '" ~ var('fill_run_minutes') | int ~ " minutes'" %}

with claimed_loads as (

    {{ claimed_loads('ohlcv_days') }}

),

loaded as (

    {{ loaded_days('claimed_loads') }}

),

loaded_days as (

    select distinct on (instrument, day)
        instrument,
        day,
        load_id
    from loaded
    order by instrument, day, load_id::numeric desc

),

spans as (

    select
        instruments.instrument,
        oldest.timestamp as first_candle,
        newest.timestamp as last_candle
    from (select distinct instrument from loaded) as instruments
    cross join lateral (
        select timestamp from {{ ref('perpetuals_ohlcv') }}
        where instrument = instruments.instrument
        order by timestamp limit 1
    ) as oldest
    cross join lateral (
        select timestamp from {{ ref('perpetuals_ohlcv') }}
        where instrument = instruments.instrument
        order by timestamp desc limit 1
    ) as newest

),

lifetimes as (

    select
        spans.*,
        {{ utc_day('spans.first_candle') }} as first_day,
        {{ utc_day('spans.last_candle') }} as last_day,
        {% if is_incremental() -%}
        (select min(stored.day) from {{ this }} as stored where stored.instrument = spans.instrument)
        {%- else -%}
        null::date
        {%- endif %} as stored_first_day,
        {% if is_incremental() -%}
        (select max(stored.day) from {{ this }} as stored where stored.instrument = spans.instrument)
        {%- else -%}
        null::date
        {%- endif %} as stored_last_day
    from spans

),

-- a day that is no longer the first or last one has other buckets to expect, and days without candles count
calendar as (

    select
        instrument,
        day
    from loaded_days

    union

    select
        instrument,
        generate_series(first_day::timestamp, coalesce(stored_first_day, last_day)::timestamp, interval '1 day')::date
    from lifetimes
    where first_day < coalesce(stored_first_day, last_day)

    union

    select
        instrument,
        generate_series(stored_last_day::timestamp, last_day::timestamp, interval '1 day')::date
    from lifetimes
    where last_day > stored_last_day

),

touched as (

    select
        calendar.instrument,
        calendar.day,
        loaded_days.load_id as last_load,
        tstzrange(
            {{ day_first_bucket('calendar.day', 'lifetimes.first_candle') }},
            {{ day_first_bucket('(calendar.day + 1)', 'lifetimes.first_candle') }}
        ) as buckets,
        tstzrange(lifetimes.first_candle, lifetimes.last_candle + {{ bucket }}) as lifetime
    from calendar
    inner join lifetimes
        on lifetimes.instrument = calendar.instrument
        and calendar.day between lifetimes.first_day and lifetimes.last_day
    left join loaded_days
        on loaded_days.instrument = calendar.instrument
        and loaded_days.day = calendar.day

),

-- materialized, because raw tables without statistics would have it counted again for each day
counted as materialized (

    {% set facts -%}
        count(*) as candles,
        min(timestamp) as first_candle,
        max(timestamp) as last_candle,
        count(*) filter (where volume = 0) as fills,
        {{ count_violations() }} as violations,
        max(high)::numeric(18, 8) as high,
        min(low)::numeric(18, 8) as low,
        sum(volume)::numeric(38, 8) as volume
    {%- endset -%}
    {% if is_incremental() -%}
    select
        touched.instrument,
        touched.day,
        facts.*
    from touched
    cross join lateral (
        select
            {{ facts }}
        from {{ ref('perpetuals_ohlcv') }}
        where instrument = touched.instrument
            and timestamp >= {{ day_open('touched.day') }}
            and timestamp < {{ day_open('(touched.day + 1)') }}
        having count(*) > 0
    ) as facts
    {%- else -%}
    select
        instrument,
        {{ utc_day('timestamp') }} as day,
        {{ facts }}
    from {{ ref('perpetuals_ohlcv') }}
    group by 1, 2
    {%- endif %}

),

-- two look-ups a day cost less than first() and last() of every candle
edges as materialized (

    select
        counted.instrument,
        counted.day,
        opening.open,
        closing.close,
        opening.volume = 0 or closing.volume = 0 as is_filled
    from counted
    cross join lateral (
        select * from {{ ref('perpetuals_ohlcv') }}
        where instrument = counted.instrument
            and timestamp = counted.first_candle
        limit 1
    ) as opening
    cross join lateral (
        select * from {{ ref('perpetuals_ohlcv') }}
        where instrument = counted.instrument
            and timestamp = counted.last_candle
        limit 1
    ) as closing

),

detailed as materialized (

    select
        touched.instrument,
        touched.day,
        details.present,
        details.filled
    from touched
    inner join counted
        on counted.instrument = touched.instrument
        and counted.day = touched.day
    inner join edges
        on edges.instrument = touched.instrument
        and edges.day = touched.day
    cross join lateral (
        select
            range_agg(tstzrange(timestamp, timestamp + {{ bucket }})) as present,
            range_agg(tstzrange(timestamp, timestamp + {{ bucket }})) filter (where volume = 0) as filled
        from {{ ref('perpetuals_ohlcv') }}
        where instrument = touched.instrument
            and timestamp >= {{ day_open('touched.day') }}
            and timestamp < {{ day_open('(touched.day + 1)') }}
    ) as details
    -- a day without holes, long runs of fills or fills at midnight has nothing to detail
    where counted.candles * {{ bucket }} < upper(touched.buckets) - lower(touched.buckets)
        or counted.fills * {{ bucket }} >= {{ threshold }}
        or edges.is_filled

),

assembled as (

    select
        touched.instrument,
        touched.day,
        coalesce(counted.candles, 0)::integer as candles,
        extract(
            epoch from upper(touched.buckets * touched.lifetime) - lower(touched.buckets * touched.lifetime)
        )::integer / {{ bucket_minutes() * 60 }} as expected,
        counted.first_candle,
        counted.last_candle,
        coalesce(counted.fills, 0)::integer as fills,
        coalesce(counted.violations, 0)::integer as violations,
        edges.open,
        counted.high,
        counted.low,
        edges.close,
        counted.volume,
        case
            when counted.candles * {{ bucket }} = upper(touched.buckets) - lower(touched.buckets) then '{}'::tstzmultirange
            else tstzmultirange(touched.buckets * touched.lifetime) - coalesce(detailed.present, '{}'::tstzmultirange)
        end as missing,
        (
            select coalesce(range_agg(run), '{}'::tstzmultirange)
            from unnest(detailed.filled) as run
            where upper(run) - lower(run) >= {{ threshold }}
                or lower(run) = lower(touched.buckets)
                or upper(run) = upper(touched.buckets)
        ) as fill_runs,
        {% if is_incremental() -%}
        case
            when stored.last_load::numeric > touched.last_load::numeric then stored.last_load
            else coalesce(touched.last_load, stored.last_load)
        end as last_load
        {%- else -%}
        touched.last_load
        {%- endif %}
    from touched
    left join counted
        on counted.instrument = touched.instrument
        and counted.day = touched.day
    left join edges
        on edges.instrument = touched.instrument
        and edges.day = touched.day
    left join detailed
        on detailed.instrument = touched.instrument
        and detailed.day = touched.day
    {%- if is_incremental() %}
    left join {{ this }} as stored
        on stored.instrument = touched.instrument
        and stored.day = touched.day
    {%- endif %}

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
        missing,
        fill_runs,
        last_load
    from assembled

)

select * from final
