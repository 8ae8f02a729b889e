{% macro exact_numeric(column) -%}
    {{ column }}::text::numeric(18, 8)
{%- endmacro %}


{#- A double holds 15 digits exactly; digits after those are noise from summing trades. -#}
{% macro is_inexact(column) -%}
    abs({{ column }} * 1e8::double precision - round({{ column }} * 1e8::double precision)) > abs({{ column }}) * 1e-7::double precision
{%- endmacro %}


{% macro as_sent(column) -%}
    case when {{ is_inexact(column) }} then {{ column }}::text::numeric else {{ exact_numeric(column) }} end
{%- endmacro %}


{#- Whether a candle of stg_inexact_candles is the one in perpetuals_ohlcv, apart from rounding. -#}
{% macro is_table_version(sent, candles) -%}
    {{ candles }}.instrument = {{ sent }}.instrument
    and {{ candles }}.timestamp = {{ sent }}.timestamp
    {%- for value in ['open', 'high', 'low', 'close', 'volume'] %}
    and {{ candles }}.{{ value }} = {{ sent }}.{{ value }}::numeric(18, 8)
    {%- endfor %}
{%- endmacro %}
