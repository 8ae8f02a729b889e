{#- Every bucket of every rollup equals the bucket recomputed from perpetuals_ohlcv. -#}
{%- set rollups = all_rollups() -%}
{%- set finest = rollups | first -%}
with spans as (

    {{ audit_spans() }}

),

-- reads the candles once: the buckets of all other rollups are computed from those of the finest
{% for rollup in rollups -%}
{%- set name = rollup.model | replace('perpetuals_ohlcv', 'rollup') -%}
{{ name }} as (

    {% if loop.first -%}
    select buckets.*
    from spans
    cross join lateral (
        select
            {{ bucket_open('timestamp', rollup.minutes, rollup.anchor) }} as timestamp,
            instrument,
            first(open, timestamp) as open,
            max(high) as high,
            min(low) as low,
            last(close, timestamp) as close,
            sum(volume) as volume,
            count(*) as candles
        from {{ ref('perpetuals_ohlcv') }}
        -- no bucket crosses an edge at 08:00 either
        where timestamp >= spans.opens_at + interval '8 hours'
            and timestamp < spans.closes_at + interval '8 hours'
        group by 1, 2
    ) as buckets
    {%- else -%}
    select
        {{ bucket_open('timestamp', rollup.minutes, rollup.anchor) }} as timestamp,
        instrument,
        first(open, timestamp) as open,
        max(high) as high,
        min(low) as low,
        last(close, timestamp) as close,
        sum(volume) as volume,
        sum(candles) as candles
    from {{ finest.model | replace('perpetuals_ohlcv', 'rollup') }}
    group by 1, 2
    {%- endif %}

),

{% endfor -%}
final as (

    {% for rollup in rollups -%}
    select
        '{{ rollup.model }}' as model,
        coalesce(stored.timestamp, recomputed.timestamp) as timestamp,
        coalesce(stored.instrument, recomputed.instrument) as instrument,
        stored.candles,
        recomputed.candles as candles_recomputed
    from {{ ref(rollup.model) }} as stored
    full join {{ rollup.model | replace('perpetuals_ohlcv', 'rollup') }} as recomputed
        on recomputed.timestamp = stored.timestamp
        and recomputed.instrument = stored.instrument
    where (
            stored.open, stored.high, stored.low, stored.close, stored.volume, stored.candles, stored.complete
        ) is distinct from (
            recomputed.open, recomputed.high, recomputed.low, recomputed.close, recomputed.volume, recomputed.candles,
            recomputed.candles = {{ rollup.minutes // bucket_minutes() }}
        )

    union all

    {% endfor -%}
    select
        'no rows' as model,
        null as timestamp,
        null as instrument,
        null as candles,
        null as candles_recomputed
    where not exists (select from {{ ref('perpetuals_ohlcv') }})
        and {{ candles_wanted() }}

)

select * from final
