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

-- what cannot be used changes no day
loaded as (

    select * from ({{ loaded_days('claimed_loads') }}) as counted_days
    where candles > rejected

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
        day,
        load_id
    from loaded_days

    union all

    select
        instrument,
        generate_series(first_day::timestamp, coalesce(stored_first_day, last_day)::timestamp, interval '1 day')::date,
        null
    from lifetimes
    where first_day < coalesce(stored_first_day, last_day)

    union all

    select
        instrument,
        generate_series(stored_last_day::timestamp, last_day::timestamp, interval '1 day')::date,
        null
    from lifetimes
    where last_day > stored_last_day

),

days as (

    select
        instrument,
        day,
        max(load_id) as last_load
    from calendar
    group by instrument, day

),

touched as (

    select
        days.instrument,
        days.day,
        days.last_load,
        tstzrange(
            {{ day_first_bucket('days.day', 'lifetimes.first_candle') }},
            {{ day_first_bucket('(days.day + 1)', 'lifetimes.first_candle') }}
        ) as buckets,
        tstzrange(lifetimes.first_candle, lifetimes.last_candle + {{ bucket }}) as lifetime
    from days
    inner join lifetimes
        on lifetimes.instrument = days.instrument
        and days.day between lifetimes.first_day and lifetimes.last_day

),

-- from here on each step adds to the day at hand: joining steps without statistics would pair all with all
counted as (

    select
        touched.*,
        facts.*
    from touched
    cross join lateral (
        select
            count(*) as candles,
            min(timestamp) as first_candle,
            max(timestamp) as last_candle,
            count(*) filter (where volume = 0) as fills,
            {{ count_violations() }} as violations,
            max(high)::numeric(18, 8) as high,
            min(low)::numeric(18, 8) as low,
            sum(volume)::numeric(38, 8) as volume
        from {{ ref('perpetuals_ohlcv') }}
        where instrument = touched.instrument
            and timestamp >= {{ day_open('touched.day') }}
            and timestamp < {{ day_open('(touched.day + 1)') }}
    ) as facts

),

-- two look-ups a day cost less than first() and last() of every candle
edged as (

    select
        counted.*,
        opening.open,
        closing.close,
        opening.volume = 0 or closing.volume = 0 as is_filled
    from counted
    left join lateral (
        select * from {{ ref('perpetuals_ohlcv') }}
        where instrument = counted.instrument
            and timestamp = counted.first_candle
        limit 1
    ) as opening on true
    left join lateral (
        select * from {{ ref('perpetuals_ohlcv') }}
        where instrument = counted.instrument
            and timestamp = counted.last_candle
        limit 1
    ) as closing on true

),

detailed as (

    select
        edged.*,
        details.present,
        details.filled
    from edged
    cross join lateral (
        select
            range_agg(tstzrange(timestamp, timestamp + {{ bucket }})) as present,
            range_agg(tstzrange(timestamp, timestamp + {{ bucket }})) filter (where volume = 0) as filled
        from {{ ref('perpetuals_ohlcv') }}
        where instrument = edged.instrument
            and timestamp >= {{ day_open('edged.day') }}
            and timestamp < {{ day_open('(edged.day + 1)') }}
            -- a day without holes, long runs of fills or fills at midnight has nothing to detail
            and (
                edged.candles * {{ bucket }} <> upper(edged.buckets) - lower(edged.buckets)
                or edged.fills * {{ bucket }} >= {{ threshold }}
                or edged.is_filled
            )
    ) as details

),

assembled as (

    select
        detailed.instrument,
        detailed.day,
        detailed.candles::integer as candles,
        extract(
            epoch from upper(detailed.buckets * detailed.lifetime) - lower(detailed.buckets * detailed.lifetime)
        )::integer / {{ bucket_minutes() * 60 }} as expected,
        detailed.first_candle,
        detailed.last_candle,
        detailed.fills::integer as fills,
        detailed.violations::integer as violations,
        detailed.open,
        detailed.high,
        detailed.low,
        detailed.close,
        detailed.volume,
        case
            when detailed.candles * {{ bucket }} = upper(detailed.buckets) - lower(detailed.buckets) then '{}'::tstzmultirange
            else tstzmultirange(detailed.buckets * detailed.lifetime) - coalesce(detailed.present, '{}'::tstzmultirange)
        end as missing,
        (
            select coalesce(range_agg(run), '{}'::tstzmultirange)
            from unnest(detailed.filled) as run
            where upper(run) - lower(run) >= {{ threshold }}
                or lower(run) = lower(detailed.buckets)
                or upper(run) = upper(detailed.buckets)
        ) as fill_runs,
        {% if is_incremental() -%}
        case
            when stored.last_load::numeric > detailed.last_load::numeric then stored.last_load
            else coalesce(detailed.last_load, stored.last_load)
        end as last_load
        {%- else -%}
        detailed.last_load
        {%- endif %}
    from detailed
    {%- if is_incremental() %}
    left join {{ this }} as stored
        on stored.instrument = detailed.instrument
        and stored.day = detailed.day
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
