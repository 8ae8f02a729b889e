{% macro newest_first(columns) -%}
    {{ columns | join(', ') }},
    load_id::numeric desc,
    volume desc,
    high desc,
    low,
    close,
    open
{%- endmacro %}


{% macro index_order() -%}
    width_bucket(instrument, (select names from instruments)) * 10000000000 - date_part('epoch', timestamp)::bigint
{%- endmacro %}
