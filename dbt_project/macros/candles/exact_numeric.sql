{% macro exact_numeric(column) -%}
    {{ column }}::text::numeric(18, 8)
{%- endmacro %}


{#- A double is good for 15 digits: what lies below them is what sums of trades leave behind. -#}
{% macro is_inexact(column) -%}
    abs({{ column }} * 1e8::double precision - round({{ column }} * 1e8::double precision)) > abs({{ column }}) * 1e-7::double precision
{%- endmacro %}


{% macro as_told(column) -%}
    case when {{ is_inexact(column) }} then {{ column }}::text::numeric else {{ exact_numeric(column) }} end
{%- endmacro %}


{#- Whether a candle of stg_inexact_candles is the one that perpetuals_ohlcv holds, but for the digits. -#}
{% macro is_told_as(told, candles) -%}
    {{ candles }}.instrument = {{ told }}.instrument
    and {{ candles }}.timestamp = {{ told }}.timestamp
    {%- for value in ['open', 'high', 'low', 'close', 'volume'] %}
    and {{ candles }}.{{ value }} = {{ told }}.{{ value }}::numeric(18, 8)
    {%- endfor %}
{%- endmacro %}
