{% test ohlcv_sanity(model, after=none) %}

{{ config(store_failures=true) }}

with violations as (

    {{ violations_sql(model) }}

)

select
    timestamp,
    instrument,
    open,
    high,
    low,
    close,
    volume,
    rule as problem
from violations

union all

select null, null, null, null, null, null, null, 'no rows'
where not exists (select from {{ model }})

{% endtest %}
