{% macro expect_variables() -%}
    {%- for name in ['gap_threshold_minutes', 'tail_threshold_minutes', 'fill_run_minutes'] -%}
        {%- if not modules.re.fullmatch('[0-9]{1,6}', var(name) | string) -%}
            {{ exceptions.raise_compiler_error(
                "expected " ~ name ~ " to be a whole number of minutes, got '" ~ var(name) ~ "'; correct the dbt variable"
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- if not modules.re.fullmatch('[1-9][0-9]{0,3} (hour|day|week)s?', var('chunk_interval') | string) -%}
        {{ exceptions.raise_compiler_error(
            "expected chunk_interval to be such as 30 days, in hours, days or weeks, got '" ~ var('chunk_interval')
            ~ "'; correct the dbt variable"
        ) }}
    {%- endif -%}
{%- endmacro %}
