{#- The days that a build compares, because reading a long table each time takes too long: the newest two days, and one of 97 parts of
    all days, a different part each minute. 97 is prime, so 97 builds cover all days, whatever the time between builds. -#}
{% macro checked_spans(relation, time='timestamp', anchor='00') -%}
    {%- if not execute or flags.WHICH not in ['build', 'test'] -%}
        {{ return([{'starts_at': '-infinity', 'ends_at': 'infinity'}]) }}
    {%- endif -%}
    {%- set query -%}
        with history as (

            select
                min({{ time }})::date as first_day,
                max({{ time }})::date as last_day,
                floor(extract(epoch from now()) / 60)::integer % 97 as part
            from {{ relation }}

        ),

        spans as (

            select
                first_day + (last_day - first_day) * part / 97 as starts_on,
                least(first_day + (last_day - first_day) * (part + 1) / 97, last_day - 2) as ends_on
            from history

            union all

            select
                last_day - 1,
                last_day
            from history

        )

        select
            starts_on || ' {{ anchor }}:00+00' as starts_at,
            (ends_on + 1) || ' {{ anchor }}:00+00' as ends_at
        from spans
        where starts_on <= ends_on
        order by 1
    {%- endset -%}
    {{ return(run_query(query).rows | list) }}
{%- endmacro %}


{#- Not one where clause with or, which would read compressed chunks in full. -#}
{% macro rows_in(spans, relation, time='timestamp') -%}
    {% for span in spans -%}
    select * from {{ relation }}
    where {{ time }} >= '{{ span.starts_at }}'
        and {{ time }} < '{{ span.ends_at }}'
    {{ 'union all' if not loop.last }}
    {% else -%}
    select * from {{ relation }}
    where false
    {% endfor -%}
{%- endmacro %}
