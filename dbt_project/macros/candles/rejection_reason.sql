{% macro rejection_reason() -%}
    {%- set values = ['open', 'high', 'low', 'close', 'volume'] -%}
    case
        when num_nulls({{ values | join(', ') }}) > 0 then 'missing_value'
        when greatest({% for value in values %}abs({{ value }}){{ ', ' if not loop.last }}{% endfor %}) >= 1e10::double precision then
            case
                when 'NaN'::double precision in ({{ values | join(', ') }}) then 'not_a_number'
                when 'Infinity'::double precision in ({% for value in values %}abs({{ value }}){{ ', ' if not loop.last }}{% endfor %}) then 'infinite'
                else 'too_large'
            end
        when not ({{ on_bucket_grid('timestamp') }}) then 'off_grid'
    end
{%- endmacro %}


{% macro is_usable() -%}
    ({% for value in ['open', 'high', 'low', 'close', 'volume'] -%}
        abs({{ value }}) < 1e10::double precision and {% endfor -%}
    {{ on_bucket_grid('timestamp') }}) is true
{%- endmacro %}
