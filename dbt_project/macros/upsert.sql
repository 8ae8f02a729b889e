{% macro get_incremental_upsert_sql(arg_dict) -%}
    {%- set target = arg_dict['target_relation'] -%}
    {%- set source = arg_dict['temp_relation'] -%}
    {%- set key = arg_dict['unique_key'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='name') | list -%}
    {%- set values = columns | reject('in', key) | list -%}
    {%- set hypertable = hypertable_config() -%}
    {%- do run_query('analyze ' ~ source) -%}
    {%- if hypertable -%}
        {%- set ranges = touched_ranges(source, hypertable.time_column, hypertable.chunk_interval) -%}
    {%- else -%}
        {%- set ranges = [none] -%}
    {%- endif -%}
    {%- if ranges | length == 0 -%}
    select 0 as changed_rows
    {%- else -%}
    insert into {{ target }} as stored ({{ columns | join(', ') }})
    {% for range in ranges -%}
    select
        {% for column in columns -%}
        loaded.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from {{ source }} as loaded
    left join {{ target }} as present
        on {% for column in key -%}
        present.{{ column }} = loaded.{{ column }}{{ ' and ' if not loop.last }}
        {%- endfor %}
        {% if range -%}
        and present.{{ hypertable.time_column }} between timestamptz '{{ range[0] }}' and timestamptz '{{ range[1] }}'
        {%- endif %}
    where (
        present.{{ key[0] }} is null
        or {{ rows_differ('present', 'loaded', values) }}
    )
    {% if range -%}
        and loaded.{{ hypertable.time_column }} between timestamptz '{{ range[0] }}' and timestamptz '{{ range[1] }}'
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {% endfor -%}
    on conflict ({{ key | join(', ') }}) do update set
        {% for column in values -%}
        {{ column }} = excluded.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    where {{ rows_differ('stored', 'excluded', values) }}
    {%- endif -%}
{%- endmacro %}


{% macro rows_differ(left, right, columns) -%}
    ({{ left }}.{{ columns | join(', ' ~ left ~ '.') }}) is distinct from ({{ right }}.{{ columns | join(', ' ~ right ~ '.') }})
{%- endmacro %}


{% macro touched_ranges(relation, time_column, chunk_interval) -%}
    {%- set query -%}
        with touched as (

            select
                date_bin(interval '{{ chunk_interval }}', {{ time_column }}, timestamptz '1970-01-01 00:00+00') as opens_at,
                min({{ time_column }}) as first_at,
                max({{ time_column }}) as last_at
            from {{ relation }}
            group by 1

        ),

        numbered as (

            select
                first_at,
                last_at,
                extract(epoch from opens_at) / extract(epoch from interval '{{ chunk_interval }}')
                    - row_number() over (order by opens_at) as run_of_chunks
            from touched

        )

        select
            min(first_at) at time zone 'UTC' || '+00',
            max(last_at) at time zone 'UTC' || '+00'
        from numbered
        group by run_of_chunks
        order by 1
    {%- endset -%}
    {{ return(run_query(query).rows | list) }}
{%- endmacro %}
