{% test ohlcv_sanity(model, violations=none) %}

with violations as (

    {% if violations -%}
    select * from {{ violations }}
    {%- else -%}
    {{ violations_sql(model) }}
    {%- endif %}

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
    and {{ candles_wanted() }}

{% if violations -%}
union all

select null, null, null, null, null, null, null, 'ohlcv_candle_days is behind the table'
where {{ is_behind('ohlcv_candle_days') }}
{%- endif %}

{% endtest %}
