{% macro can_roll_up(minutes, anchor='00') -%}
    {%- set base = bucket_minutes() -%}
    {{ return(
        minutes > base
        and minutes % base == 0
        and base_resolution() not in ['180', '360']
        and (base != 720 or anchor == '08')
    ) }}
{%- endmacro %}


{% macro rollups() -%}
    {%- set found = [] -%}
    {%- for name, minutes, anchor in [
        ('5m', 5, '00'), ('15m', 15, '00'), ('1h', 60, '00'), ('4h', 240, '00'), ('1d', 1440, '00'), ('1d_settlement', 1440, '08')
    ] if can_roll_up(minutes, anchor) -%}
        {%- do found.append({'model': 'perpetuals_ohlcv_' ~ name, 'minutes': minutes, 'anchor': anchor}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{% macro rollup_source(minutes) -%}
    {%- set finer = rollups() | selectattr('minutes', 'lt', minutes) | list -%}
    {{ return(finer[-1] if finer else {'model': 'perpetuals_ohlcv', 'minutes': bucket_minutes()}) }}
{%- endmacro %}


{% macro rollup_lineage(minutes, model) -%}
    {%- set upstream = rollup_source(minutes) -%}
    {%- set links = [(model, upstream.model)] -%}
    {%- if upstream.model != 'perpetuals_ohlcv' -%}
        {%- set links = links + rollup_lineage(upstream.minutes, upstream.model) -%}
    {%- endif -%}
    {{ return(links) }}
{%- endmacro %}


{% macro range_start() -%}
    timestamptz '-infinity'
{%- endmacro %}


{% macro range_end() -%}
    timestamptz 'infinity'
{%- endmacro %}


{% macro within_range(sql, first_at, ends_at) -%}
    {{ return(
        sql | replace(range_start(), "timestamptz '" ~ first_at ~ "'") | replace(range_end(), "timestamptz '" ~ ends_at ~ "'")
    ) }}
{%- endmacro %}


{% macro touched_buckets(loads, minutes, anchor) -%}
    select
        loaded.instrument,
        days.opens_at as day_opens_at,
        min({{ bucket_open('greatest(loaded.first_at, days.opens_at)', minutes, anchor) }}) as first_bucket,
        max({{ bucket_open("least(loaded.last_at, days.opens_at + interval '1 day' - interval '1 microsecond')", minutes, anchor) }})
            as last_bucket,
        sum(loaded.candles) as candles
    from {{ loads }} as loaded
    cross join lateral generate_series(
        {{ bucket_open('loaded.first_at', 1440, anchor) }},
        {{ bucket_open('loaded.last_at', 1440, anchor) }},
        interval '1 day'
    ) as days (opens_at)
    where days.opens_at + interval '1 day' > {{ range_start() }}
        and days.opens_at < {{ range_end() }}
    group by 1, 2
{%- endmacro %}


{% macro rollup(minutes, anchor='00') -%}
{%- set source = rollup_source(minutes) -%}
with claimed_loads as (

    {{ claimed_loads(this.identifier) }}

),

loaded as (

    {{ loaded_days('claimed_loads') }}

),

touched as (

    {{ touched_buckets('loaded', minutes, anchor) }}

),

finer as (

    select
        *,
        {{ bucket_open('timestamp', minutes, anchor) }} as bucket
    from {{ ref(source.model) }}
    where timestamp >= {{ range_start() }}
        and timestamp < {{ range_end() }}
        and {{ hashed_in('instrument', 'touched', 'instrument') }}

),

rolled as (

    select
        bucket as timestamp,
        instrument,
        first(open, timestamp)::numeric(18, 8) as open,
        max(high)::numeric(18, 8) as high,
        min(low)::numeric(18, 8) as low,
        last(close, timestamp)::numeric(18, 8) as close,
        sum(volume)::numeric(38, 8) as volume,
        {{ 'count(*)' if source.model == 'perpetuals_ohlcv' else 'sum(candles)' }}::integer as candles
    from finer
    group by bucket, instrument

),

final as (

    select
        rolled.timestamp,
        rolled.instrument,
        rolled.open,
        rolled.high,
        rolled.low,
        rolled.close,
        rolled.volume,
        rolled.candles,
        rolled.candles = {{ minutes // bucket_minutes() }} as complete
    from rolled
    inner join touched
        on touched.instrument = rolled.instrument
        and touched.day_opens_at = {{ bucket_open('rolled.timestamp', 1440, anchor) }}
        and rolled.timestamp between touched.first_bucket and touched.last_bucket

)

select * from final
{%- endmacro %}


{% macro rollup_ranges(hypertable) -%}
    {%- set minutes, anchor = hypertable.rollup.minutes, hypertable.rollup.anchor -%}
    {%- set candles_a_row = rollup_source(minutes).minutes // bucket_minutes() -%}
    {%- set query -%}
        with claimed_loads as (

            {{ claimed_loads(this.identifier) }}

        ),

        loaded as (

            {{ loaded_days('claimed_loads') }}

        ),

        touched as (

            {{ touched_buckets('loaded', minutes, anchor) }}

        ),

        days as (

            select
                day_opens_at,
                date_bin(interval '{{ hypertable.chunk_interval }}', day_opens_at, timestamptz '1970-01-01 00:00+00') as chunk,
                min(first_bucket) as first_at,
                max(last_bucket) + interval '{{ minutes }} minutes' as ends_at,
                sum(candles) as candles,
                -- what lies between two repairs far from each other is not read
                coalesce(day_opens_at - lag(day_opens_at) over (order by day_opens_at) > interval '7 days', true)::integer as is_apart
            from touched
            group by day_opens_at

        ),

        islands as (

            select
                *,
                sum(is_apart) over (order by day_opens_at) as island
            from days

        ),

        batches as (

            select
                *,
                ceil(sum(candles) over (partition by chunk, island order by day_opens_at) / {{ 400000 * candles_a_row }}) as batch
            from islands

        )

        select
            min(first_at) at time zone 'UTC' || '+00' as first_at,
            max(ends_at) at time zone 'UTC' || '+00' as ends_at,
            (max(ends_at) - interval '1 microsecond') at time zone 'UTC' || '+00' as last_at
        from batches
        group by chunk, island, batch
        order by chunk, island, batch
    {%- endset -%}
    {{ return(run_query(query).rows | list) }}
{%- endmacro %}
