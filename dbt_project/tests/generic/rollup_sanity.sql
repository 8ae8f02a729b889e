{% test rollup_sanity(model, minutes) %}

{{ config(store_failures=true) }}

with rollup as (

    -- older ones are compared with their candles by perps audit
    select * from {{ model }}
    where timestamp > (select max(timestamp) - interval '7 days' from {{ model }})

),

consumed_loads as (

    select load_id from {{ source('quality', 'consumed_loads') }}
    where model = '{{ model.identifier }}'

),

loaded as (

    {{ loaded_days('consumed_loads') }}

)

select
    timestamp,
    instrument,
    open,
    high,
    low,
    close,
    volume,
    candles,
    complete,
    'contradicts itself' as problem
from rollup
where high < greatest(open, low, close)
    or low > least(open, high, close)
    or volume < 0
    or candles not between 1 and {{ minutes // bucket_minutes() }}
    or complete <> (candles = {{ minutes // bucket_minutes() }})

union all

select null, null, null, null, null, null, null, null, null, 'no rows'
where not exists (select from {{ model }})
    and exists (select from loaded where candles > rejected)

{% for follower, upstream in rollup_lineage(minutes, model.identifier) -%}
union all

select null, null, null, null, null, null, null, null, null, '{{ follower }} is behind {{ upstream }}'
where {{ is_behind(follower, model, upstream) }}

{% endfor -%}

{% endtest %}
