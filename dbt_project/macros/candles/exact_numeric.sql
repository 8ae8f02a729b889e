{% macro exact_numeric(column) -%}
    {{ column }}::text::numeric(18, 8)
{%- endmacro %}


{#- A double holds 15 digits exactly; digits after those are noise from summing trades. -#}
{% macro is_inexact(column) -%}
    abs({{ column }} * 1e8::double precision - round({{ column }} * 1e8::double precision)) > abs({{ column }}) * 1e-7::double precision
{%- endmacro %}


{#- What rounding to eight decimals takes from a double, as a part of it, in units of 1e-8; null for 0. -#}
{% macro rounding_loss(column) -%}
    abs({{ column }} * 1e8::double precision - round({{ column }} * 1e8::double precision)) / nullif(abs({{ column }}), 0)
{%- endmacro %}


{% macro as_sent(column) -%}
    case when {{ is_inexact(column) }} then {{ column }}::text::numeric else {{ exact_numeric(column) }} end
{%- endmacro %}


{#- Whether a candle of stg_inexact_candles is the one in perpetuals_ohlcv, apart from rounding. With five equalities, PostgreSQL would
    also sort or hash by the values. -#}
{% macro is_table_version(sent, candles) -%}
    {%- set values = ['open', 'high', 'low', 'close', 'volume'] -%}
    {{ candles }}.instrument = {{ sent }}.instrument
    and {{ candles }}.timestamp = {{ sent }}.timestamp
    and ({{ candles }}.{{ values | join(', ' ~ candles ~ '.') }}) is not distinct from (
        {%- for value in values %}
        {{ exact_numeric(sent ~ '.' ~ value) }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
