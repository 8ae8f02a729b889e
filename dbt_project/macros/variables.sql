{% macro expect_variables() -%}
    {%- for name in ['gap_threshold_minutes', 'tail_threshold_minutes', 'fill_run_minutes'] -%}
        {%- if not modules.re.fullmatch('[0-9]{1,6}', var(name) | string) -%}
            {{ exceptions.raise_compiler_error(
                "expected " ~ name ~ " to be a whole number of minutes, got '" ~ var(name) ~ "'; correct the dbt variable"
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- for name in ['chunk_interval', 'columnstore_chunk_interval', 'columnstore_after', 'columnstore_merge'] -%}
        {%- if not modules.re.fullmatch('[1-9][0-9]{0,3} (hour|day|week)s?', var(name) | string) -%}
            {{ exceptions.raise_compiler_error(
                "expected " ~ name ~ " to be such as 30 days, in hours, days or weeks, got '" ~ var(name)
                ~ "'; correct the dbt variable"
            ) }}
        {%- endif -%}
    {%- endfor -%}
    {%- if not modules.re.fullmatch('[0-9]{1,5}', var('columnstore_batch') | string) or not 1 <= var('columnstore_batch') | int <= 32767 -%}
        {{ exceptions.raise_compiler_error(
            "expected columnstore_batch to be 1 to 32767 candles, got '" ~ var('columnstore_batch') ~ "'; correct the dbt variable"
        ) }}
    {%- endif -%}
    {%- if not modules.re.fullmatch('forever|[1-9][0-9]{0,3} (day|week)s?', var('raw_retention') | string) -%}
        {{ exceptions.raise_compiler_error(
            "expected raw_retention to be forever or such as 90 days, in days or weeks, got '" ~ var('raw_retention')
            ~ "'; correct the dbt variable"
        ) }}
    {%- endif -%}
    {%- if var('columnstore') is not boolean -%}
        {{ exceptions.raise_compiler_error(
            "expected columnstore to be true or false, got '" ~ var('columnstore') ~ "'; correct the dbt variable"
        ) }}
    {%- endif -%}
{%- endmacro %}
