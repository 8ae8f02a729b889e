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


{% macro on_bucket_grid(timestamp_column='timestamp') -%}
    {%- set anchors = {'1D': ['08'], '720': ['08'], '360': ['00', '08'], '180': ['00', '08']}.get(base_resolution(), ['00']) -%}
    {%- for anchor in anchors -%}
    {{ ' or ' if not loop.first -}}
    date_bin(interval '{{ bucket_minutes() }} minutes', {{ timestamp_column }}, timestamptz '1970-01-01 {{ anchor }}:00+00') = {{ timestamp_column }}
    {%- endfor -%}
{%- endmacro %}
