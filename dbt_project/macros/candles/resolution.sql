{% macro base_resolution() -%}
    {%- set known = ['1', '3', '5', '10', '15', '30', '60', '120', '180', '360', '720', '1D'] -%}
    {%- set resolution = var('base_resolution') | string | upper -%}
    {%- if resolution not in known -%}
        {{ exceptions.raise_compiler_error(
            "expected base_resolution to be one of " ~ known | join(', ') ~ ", got '" ~ resolution ~ "'; correct the dbt variable"
        ) }}
    {%- endif -%}
    {{ return(resolution) }}
{%- endmacro %}


{% macro bucket_minutes() -%}
    {%- set resolution = base_resolution() -%}
    {{ return(1440 if resolution == '1D' else resolution | int) }}
{%- endmacro %}


{% macro bucket_anchors() -%}
    {{ return({'1D': ['08'], '720': ['08'], '360': ['00', '08'], '180': ['00', '08']}.get(base_resolution(), ['00'])) }}
{%- endmacro %}


{% macro on_bucket_grid(timestamp_column='timestamp') -%}
    {%- for anchor in bucket_anchors() -%}
    {{ ' or ' if not loop.first -}}
    {{ bucket_open(timestamp_column, anchor=anchor) }} = {{ timestamp_column }}
    {%- endfor -%}
{%- endmacro %}


{% macro day_first_bucket(day, first_candle) -%}
    {{ first_candle }} + interval '{{ bucket_minutes() }} minutes'
        * ceil(extract(epoch from {{ day_open(day) }} - {{ first_candle }}) / {{ bucket_minutes() * 60 }})::integer
{%- endmacro %}


{% macro resolution_minutes(column='resolution') -%}
    case {{ column }} when '1D' then 1440 else {{ column }}::integer end
{%- endmacro %}
