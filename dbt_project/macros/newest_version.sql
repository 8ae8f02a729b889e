{% macro newest_first(columns) -%}
    {{ columns | join(', ') }},
    load_id::numeric desc,
    volume desc,
    high desc,
    low,
    close,
    open
{%- endmacro %}
