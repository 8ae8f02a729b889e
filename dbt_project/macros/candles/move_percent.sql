{% macro move_percent(previous_close) -%}
    case
        when least(low, {{ previous_close }}) > 0
            then (greatest(high, {{ previous_close }}) / least(low, {{ previous_close }}))::double precision * 100 - 100
    end
{%- endmacro %}
