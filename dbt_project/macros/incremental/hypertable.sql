{% materialization hypertable, adapter='postgres' %}
    {%- set table = this.incorporate(type='table') -%}
    {%- set options = hypertable_options() -%}
    {%- set statements = [] -%}
    {%- set written = [] -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    -- `BEGIN` happens here:
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- set mark = lock_watermark(table) -%}
    {%- do expect_hypertable(table, mark) -%}
    {%- do primary_key() -%}
    {%- do define_hypertable(table, mark, options) -%}
    {%- if starts_again(table, mark) -%}
        {%- do mark.update({'read_after': '0'}) -%}
    {%- endif -%}

    {%- if mark.read_to | float > mark.read_after | float -%}
        {%- set ranges = touched_ranges(mark, options) -%}
        {%- for range in ranges -%}
            {%- do build_range(table, range, mark, options, statements, written) -%}
        {%- endfor -%}
        {%- do run_query(move_watermark(table, mark, ranges | length > 0)) -%}
    {%- endif -%}
    {%- if mark.is_new -%}
        {%- do run_query(keys_of(table, options)) -%}
    {%- endif -%}

    {%- do write(statements | join(';\n\n')) -%}
    {%- do store_raw_result('main', message='UPSERT ' ~ written | sum, code='UPSERT', rows_affected=written | sum) -%}
    {%- do apply_grants(table, config.get('grants'), should_revoke=false) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}

    -- `COMMIT` happens here
    {%- do adapter.commit() -%}

    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [table]}) }}
{% endmaterialization %}


{% macro hypertable_options(node=none) -%}
    {%- set options = {
        'time_column': 'timestamp',
        'chunk_interval': '3650 days',
        'columnstore_chunk_interval': none,
        'columnstore': false,
        'reads': 'candles',
        'grain_minutes': bucket_minutes(),
        'anchor': '00',
        'candles_at_once': 400000,
        'rows_a_day': none,
        'index': none,
    } -%}
    {%- do options.update((node.config if node else config).get('meta') or {}) -%}
    {{ return(options) }}
{%- endmacro %}


{% macro expect_hypertable(table, mark) -%}
    {%- if not mark.is_new and mark.kind != 'hypertable' -%}
        {{ exceptions.raise_compiler_error(
            "expected " ~ relation_name(table) ~ " to be a hypertable, got " ~ mark.kind ~ "; rename or drop it, then run dbt build again"
        ) }}
    {%- endif -%}
{%- endmacro %}


{#- Creates a missing table without its key, which is added after the rows: sorting once takes a third of the time of maintaining the
    key row by row. Columns and comments are checked only when the model has changed. -#}
{% macro define_hypertable(table, mark, options) -%}
    {%- set definition = definition_of_model() -%}
    {%- if mark.is_new -%}
        {%- call statement('create') -%}
            create table {{ table }}
            {{ get_assert_columns_equivalent(sql) }}
            {{ get_table_columns_and_constraints() }};
            alter table {{ table }} drop constraint {{ table.identifier }}_pkey;
            select create_hypertable(
                '{{ relation_name(table) }}',
                by_range('{{ options.time_column }}', interval '{{ chunk_interval_of(options) }}'),
                create_default_indexes => false
            );
        {%- endcall -%}
    {%- elif mark.definition != definition -%}
        {%- do get_assert_columns_equivalent(sql) -%}
        {%- do expect_columns(table) -%}
    {%- endif -%}
    {%- if mark.is_new or mark.definition != definition -%}
        {%- do run_query(define(table, definition, comments_of(table))) -%}
    {%- endif -%}
{%- endmacro %}


{% macro expect_columns(table) -%}
    {%- set found = adapter.get_columns_in_relation(table) | map(attribute='name') | list -%}
    {%- set wanted = model.columns.keys() | list -%}
    {%- if found != wanted -%}
        {{ exceptions.raise_compiler_error(
            "expected " ~ relation_name(table) ~ " to have the columns of its contract (" ~ wanted | join(', ') ~ "), got "
            ~ found | join(', ') ~ "; alter the table, or drop it: the next dbt build creates it again from all loads"
        ) }}
    {%- endif -%}
{%- endmacro %}


{% macro starts_again(table, mark) -%}
    {%- if mark.has_other_resolution and not mark.is_new -%}
        {%- do run_query('delete from ' ~ table) -%}
    {%- endif -%}
    {%- if mark.is_new or mark.has_other_resolution or (
        mark.had_rows and not run_query('select exists (select from ' ~ table ~ ')').columns[0].values()[0]
    ) -%}
        {%- set followers = watermarked(graph.nodes[model.unique_id], 'followers') -%}
        {%- if followers -%}
            {%- do run_query(start_again(followers)) -%}
        {%- endif -%}
        {{ return(true) }}
    {%- endif -%}
    {{ return(false) }}
{%- endmacro %}


{% macro keys_of(table, options) -%}
    alter table {{ table }} add primary key ({{ primary_key() | join(', ') }});
    {% if options.index -%}
    create index {{ options.index }} on {{ table }} (instrument, {{ options.time_column }} desc);
    {%- endif %}
{%- endmacro %}


{% macro primary_key() -%}
    {%- set keys = model.constraints | selectattr('type', 'equalto', 'primary_key') | list -%}
    {%- if not keys -%}
        {{ exceptions.raise_compiler_error(
            "model " ~ model.name ~ " has no primary key in its .yml; add one, for example "
            ~ "constraints: [{type: primary_key, columns: [timestamp, instrument]}]"
        ) }}
    {%- endif -%}
    {{ return(keys[0].columns) }}
{%- endmacro %}
