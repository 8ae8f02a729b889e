{% macro get_incremental_upsert_sql(arg_dict) -%}
    {%- set target = arg_dict['target_relation'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='name') | list -%}
    {%- set hypertable = hypertable_config() -%}
    {%- if not hypertable -%}
    {%- do run_query('analyze ' ~ arg_dict['temp_relation']) -%}
    {{ upsert_range(target, arg_dict['temp_relation'], arg_dict['unique_key'], columns) }}
    {%- elif hypertable.rollup -%}
    {{ allow_decompression() }}
    {% for range in rollup_ranges(hypertable) -%}
    {%- set rows = '(' ~ within_range(model['compiled_code'], range.first_at, range.ends_at) ~ ')' -%}
    {{ upsert_range(target, rows, arg_dict['unique_key'], columns, hypertable.time_column, range.first_at, range.last_at) }};

    {% else -%}
    select 0 as changed_rows
    {%- endfor -%}
    {%- else -%}
    {%- set time = hypertable.time_column -%}
    {{ allow_decompression() }}
    {% for range in stored_ranges(target, loaded_ranges(hypertable.chunk_interval)) -%}
    {%- if range.stored_first and range.candles < 20000 -%}
    {#- a second statement costs more than comparing what is new as well -#}
    {{ upsert_range(target, model_rows(), arg_dict['unique_key'], columns, time, range.first_at, range.last_at) }};
    {%- elif range.stored_first -%}
    {{ upsert_range(target, model_rows(), arg_dict['unique_key'], columns, time, range.stored_first, range.stored_last) }};
    {% if range.has_older -%}
    {{ insert_range(target, columns | join(', '), time, range.first_at, range.stored_first, '>=', '<') }};
    {% endif -%}
    {% if range.has_newer -%}
    {{ insert_range(target, columns | join(', '), time, range.stored_last, range.last_at, '>', '<=') }};
    {% endif -%}
    {%- else -%}
    {{ insert_range(target, columns | join(', '), time, range.first_at, range.last_at) }};
    {%- endif %}

    {% else -%}
    select 0 as changed_rows
    {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{% macro model_rows() -%}
    ({{ model['compiled_code'] }})
{%- endmacro %}


{% macro insert_range(target, columns, time_column, first_at, last_at, from='>=', to='<=', rows=none) -%}
    insert into {{ target }} ({{ columns }})
    select {{ columns }}
    from {{ rows or model_rows() }} as loaded
    where loaded.{{ time_column }} {{ from }} timestamptz '{{ first_at }}'
        and loaded.{{ time_column }} {{ to }} timestamptz '{{ last_at }}'
{%- endmacro %}


{% macro upsert_range(target, source, key, columns, time_column=none, first_at=none, last_at=none) -%}
    {%- set values = columns | reject('in', key) | list -%}
    insert into {{ target }} as stored ({{ columns | join(', ') }})
    select
        {% for column in columns -%}
        loaded.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from {{ source }} as loaded
    left join {{ target }} as present
        on {% for column in key -%}
        present.{{ column }} = loaded.{{ column }}{{ ' and ' if not loop.last }}
        {%- endfor %}
        {% if time_column -%}
        and present.{{ time_column }} between timestamptz '{{ first_at }}' and timestamptz '{{ last_at }}'
        {%- endif %}
    where (
        present.{{ key[0] }} is null
        or {{ rows_differ('present', 'loaded', values) }}
    )
    {% if time_column -%}
        and loaded.{{ time_column }} between timestamptz '{{ first_at }}' and timestamptz '{{ last_at }}'
    {%- endif %}
    on conflict ({{ key | join(', ') }}) do update set
        {% for column in values -%}
        {{ column }} = excluded.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    where {{ rows_differ('stored', 'excluded', values) }}
{%- endmacro %}


{% macro rows_differ(left, right, columns) -%}
    ({{ left }}.{{ columns | join(', ' ~ left ~ '.') }}) is distinct from ({{ right }}.{{ columns | join(', ' ~ right ~ '.') }})
{%- endmacro %}


{% macro stored_ranges(target, ranges) -%}
    {%- if ranges | length == 0 -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set query -%}
        with claimed_loads as (

            {{ claimed_loads(this.identifier) }}

        ),

        loaded as (

            {{ loaded_days('claimed_loads') }}

        )

        {% for range in ranges -%}
        {%- set within = "timestamp between timestamptz '" ~ range.first_at ~ "' and timestamptz '" ~ range.last_at ~ "'" -%}
        select
            '{{ range.first_at }}' as first_at,
            '{{ range.last_at }}' as last_at,
            {{ range.candles }} as candles,
            min(oldest.timestamp) at time zone 'UTC' || '+00' as stored_first,
            max(newest.timestamp) at time zone 'UTC' || '+00' as stored_last,
            min(oldest.timestamp) > timestamptz '{{ range.first_at }}' as has_older,
            max(newest.timestamp) < timestamptz '{{ range.last_at }}' as has_newer
        from (
            select distinct instrument from loaded
            where first_at <= timestamptz '{{ range.last_at }}'
                and last_at >= timestamptz '{{ range.first_at }}'
        ) as instruments
        cross join lateral (
            select timestamp from {{ target }}
            where instrument = instruments.instrument
                and {{ within }}
            order by timestamp limit 1
        ) as oldest
        cross join lateral (
            select timestamp from {{ target }}
            where instrument = instruments.instrument
                and {{ within }}
            order by timestamp desc limit 1
        ) as newest
        {{ 'union all' if not loop.last }}
        {% endfor -%}
    {%- endset -%}
    {{ return(run_query(query).rows | list) }}
{%- endmacro %}
