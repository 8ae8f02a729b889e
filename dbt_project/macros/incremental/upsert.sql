{% macro build_range(table, range, mark, options, statements, written) -%}
    {%- set stored = [] if mark.is_new else run_query(instruments_stored(table, range, options)).columns[0].values() | list -%}
    {%- set unstored = range.instruments | reject('in', stored) | list -%}
    {%- for instruments, compare in [(unstored, false), (stored, true)] if instruments -%}
        {%- set part = {'starts_at': range.starts_at, 'ends_at': range.ends_at, 'instruments': instruments} -%}
        {#- in_range() reads this range while the model's SQL is rendered -#}
        {%- do model.update({'range': part}) -%}
        {%- set rows = render(model.raw_code) -%}
        {%- do model.update({'range': none}) -%}
        {%- set query = upsert(table, rows, part, options) if compare else insert(table, rows) -%}
        {%- call statement('range') -%}{{ query }}{%- endcall -%}
        {%- do statements.append(query) -%}
        {%- do written.append(load_result('range').response.rows_affected) -%}
    {%- endfor -%}
{%- endmacro %}


{% macro instruments_stored(table, range, options) -%}
    select names.instrument
    from unnest(array[{{ literals(range.instruments) }}]) as names (instrument)
    where exists (
        select from {{ table }} as stored
        where stored.instrument = names.instrument
            and stored.{{ options.time_column }} >= '{{ range.starts_at }}'
            and stored.{{ options.time_column }} < '{{ range.ends_at }}'
    )
{%- endmacro %}


{% macro insert(table, rows) -%}
    {%- set columns = model.columns.keys() | join(', ') -%}
    insert into {{ table }} ({{ columns }})
    select {{ columns }}
    from (
        {{ rows }}
    ) as built
{%- endmacro %}


{#- The anti-join leaves rows that do not differ untouched; on conflict handles a row that another session has written in the
    meantime. -#}
{% macro upsert(table, rows, range, options) -%}
    {%- set key = primary_key() -%}
    {%- set columns = model.columns.keys() | list -%}
    {%- set values = columns | reject('in', key) | list -%}
    insert into {{ table }} as stored ({{ columns | join(', ') }})
    select built.{{ columns | join(', built.') }}
    from (
        {{ rows }}
    ) as built
    left join {{ table }} as present
        on {% for column in key -%}
        present.{{ column }} = built.{{ column }} and {% endfor %}
        {{ within(range, 'present.' ~ options.time_column, 'present') }}
    where present.{{ key[0] }} is null
        or {{ rows_differ('present', 'built', values) }}
    on conflict ({{ key | join(', ') }}) do update set
        {% for column in values -%}
        {{ column }} = excluded.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    where {{ rows_differ('stored', 'excluded', values) }}
{%- endmacro %}


{% macro rows_differ(left, right, columns) -%}
    ({{ left }}.{{ columns | join(', ' ~ left ~ '.') }}) is distinct from ({{ right }}.{{ columns | join(', ' ~ right ~ '.') }})
{%- endmacro %}
