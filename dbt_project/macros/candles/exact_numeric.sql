{% macro exact_numeric(column) -%}
    {{ column }}::text::numeric(18, 8)
{%- endmacro %}
