{#- Not "in the complete ones": those are all but a few, and a plan would have to carry them. -#}
{% macro load_is_complete() -%}
    _dlt_load_id not in (select load_id from {{ source('deribit_raw', '_dlt_loads') }} where status <> 0)
{%- endmacro %}
