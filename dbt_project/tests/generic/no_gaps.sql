{% test no_gaps(model, instrument_column='instrument', timestamp_column='timestamp', gaps=none, reasons=none) %}

with gaps as (

    {% if gaps -%}
    select * from {{ gaps }}
    {%- if reasons %}
    where reason in ('{{ reasons | join("', '") }}')
    {%- endif %}
    {%- else -%}
    {{ gaps_sql(model, instrument_column, timestamp_column) }}
    {%- endif %}

)

select
    instrument::text as instrument,
    gap_start,
    gap_end,
    gap_minutes,
    'gap' as problem
from gaps
where gap_end - gap_start > interval '{{ var('gap_threshold_minutes') | int }} minutes'

union all

select null, null, null, null, 'no rows'
where not exists (select from {{ model }})
    and {{ candles_wanted() }}

{% if gaps -%}
union all

select null, null, null, null, 'ohlcv_candle_days is behind the table'
where {{ is_behind('ohlcv_candle_days') }}
{%- endif %}

{% endtest %}
