{% test row_coverage(model, min_percent, instrument_column='instrument', timestamp_column='timestamp', coverage=none) %}

with coverage as (

    {% if coverage -%}
    select * from {{ coverage }}
    {%- else -%}
    {{ coverage_sql(model, instrument_column, timestamp_column) }}
    {%- endif %}

)

select
    instrument::text as instrument,
    candles,
    first_candle,
    last_candle,
    expected,
    missing,
    coverage_percent,
    'below {{ min_percent }} percent' as problem
from coverage
where candles * 100.0 < expected * {{ min_percent }}

union all

select null, null, null, null, null, null, null, 'no rows'
where not exists (select from {{ model }})
    and {{ candles_wanted() }}

{% if coverage -%}
union all

select null, null, null, null, null, null, null, 'ohlcv_candle_days is behind the table'
where {{ is_behind('ohlcv_candle_days') }}
{%- endif %}

{% endtest %}
