{% macro hashed_in(column, relation, relation_column) -%}
    ({{ column }} in (select {{ relation_column }} from {{ relation }})) is true
{%- endmacro %}
