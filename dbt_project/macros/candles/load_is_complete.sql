{#- Not "in the complete loads": nearly all loads are complete, and the plan would have to hash them all. -#}
{% macro load_is_complete() -%}
    _dlt_load_id not in (select load_id from {{ source('deribit_raw', '_dlt_loads') }} where status <> 0)
{%- endmacro %}
