{% test rollup_sanity(model, minutes, anchor='00') %}

{%- set upstream = rollup_source(minutes) %}
{%- set spans = checked_spans(ref(upstream.model), anchor=anchor) %}

with rollup as (

    -- perps audit compares older buckets with their candles
    select * from {{ model }}
    where timestamp > (select max(timestamp) - interval '7 days' from {{ model }})

),

stored as (

    {{ rows_in(spans, model) }}

),

rolled_rows as (

    {{ rows_in(spans, ref(upstream.model)) }}

),

rolled as (

    select
        {{ bucket_open('timestamp', minutes, anchor) }} as timestamp,
        instrument,
        max(high) as high,
        min(low) as low,
        sum(volume) as volume,
        {{ 'count(*)' if upstream.model == 'perpetuals_ohlcv' else 'sum(candles)' }} as candles
    from rolled_rows
    group by 1, 2

),

final as (

    select
        timestamp,
        instrument,
        candles,
        'contradicts itself' as problem
    from rollup
    where high < greatest(open, low, close)
        or low > least(open, high, close)
        or volume < 0
        or candles not between 1 and {{ minutes // bucket_minutes() }}
        or complete <> (candles = {{ minutes // bucket_minutes() }})

    union all

    select
        coalesce(stored.timestamp, rolled.timestamp),
        coalesce(stored.instrument, rolled.instrument),
        stored.candles,
        'not what {{ upstream.model }} makes of it'
    from stored
    full join rolled
        on rolled.timestamp = stored.timestamp
        and rolled.instrument = stored.instrument
    where (stored.high, stored.low, stored.volume, stored.candles) is distinct from (rolled.high, rolled.low, rolled.volume, rolled.candles)

    union all

    select null, null, null, 'no rows'
    where not exists (select from {{ model }})
        and exists (select from {{ ref(upstream.model) }})

    union all

    select null, null, null, 'behind {{ upstream.model }}'
    where {{ is_behind(model.identifier, upstream.model) }}

)

select * from final

{% endtest %}
