{% macro hypertable_config() -%}
    {{ return((config.get('meta') or {}).get('hypertable')) }}
{%- endmacro %}


{% macro expect_hypertable() -%}
    {%- if execute -%}
        {%- set kind_of_relation -%}
            select
                case
                    when hypertable.hypertable_name is not null then 'hypertable'
                    when relation.relkind = 'r' then 'a plain table'
                    when relation.relkind = 'p' then 'a partitioned table'
                    when relation.relkind = 'v' then 'a view'
                    when relation.relkind = 'm' then 'a materialized view'
                    else 'a foreign table'
                end
            from pg_class as relation
            left join timescaledb_information.hypertables as hypertable
                on hypertable.hypertable_schema = '{{ this.schema }}'
                and hypertable.hypertable_name = '{{ this.identifier }}'
            where relation.oid = to_regclass('{{ this.include(database=false) }}')
        {%- endset -%}
        {%- set kinds = run_query(kind_of_relation).columns[0].values() -%}
        {%- if kinds | length > 0 and kinds[0] != 'hypertable' -%}
            {{ exceptions.raise_compiler_error(
                "expected " ~ this.include(database=false) ~ " to be a hypertable, got " ~ kinds[0]
                ~ "; rename or drop it, then run dbt build again"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- set hypertable = hypertable_config() -%}
    {%- if config.get('incremental_strategy') != 'upsert' -%}
        {{ dbt.postgres__create_table_as(temporary, relation, sql) }}
    {%- elif temporary and hypertable and hypertable.rollup -%}
        {#- bounds that exclude every chunk from planning, too -#}
        {{ dbt.postgres__create_table_as(true, relation, within_range(sql, 'infinity', '-infinity')) }}
    {%- elif temporary and hypertable -%}
        {#- no more than its columns: the strategy reads the model range by range -#}
        {{ dbt.postgres__create_table_as(true, relation, 'select * from (' ~ sql ~ ') as model_columns where false') }}
    {%- elif temporary -%}
        {{ dbt.postgres__create_table_as(true, relation, sql) }}
    {%- elif run_query("select to_regclass('" ~ relation.include(database=false) ~ "') is not null").columns[0].values()[0] -%}
        {#- another build made the table while this one waited for the claim -#}
        {%- set temp_relation = make_temp_relation(relation) -%}
        {%- do run_query(postgres__create_table_as(true, temp_relation, sql)) -%}
        {{ get_incremental_upsert_sql({
            'target_relation': relation,
            'temp_relation': temp_relation,
            'unique_key': config.get('unique_key'),
            'dest_columns': adapter.get_columns_in_relation(relation),
        }) }}
    {%- elif hypertable %}
        create table {{ relation }}
        {{ get_assert_columns_equivalent(sql) }}
        {{ get_table_columns_and_constraints() }};

        select create_hypertable(
            '{{ relation.include(database=false) }}',
            by_range('{{ hypertable.time_column }}', interval '{{ chunk_interval_of(hypertable) }}'),
            create_default_indexes => false
        );

        -- the key is made when the rows are in: sorting once takes a third of keeping it up row by row
        alter table {{ relation }} drop constraint {{ relation.identifier }}_pkey;

        {% for range in (rollup_ranges(hypertable) if hypertable.rollup else []) -%}
        {{ insert_range(
            relation, adapter.dispatch('get_column_names', 'dbt')(), hypertable.time_column, range.first_at, range.last_at,
            rows='(' ~ within_range(sql, range.first_at, range.ends_at) ~ ')'
        ) }};

        {% endfor -%}
        {% for range in ([] if hypertable.rollup else loaded_ranges(hypertable.chunk_interval)) -%}
        {{ insert_range(relation, adapter.dispatch('get_column_names', 'dbt')(), hypertable.time_column, range.first_at, range.last_at) }};

        {% endfor -%}
        alter table {{ relation }} add primary key ({{ config.get('unique_key') | join(', ') }});
    {%- else %}
        create table {{ relation }}
        {{ get_assert_columns_equivalent(sql) }}
        {{ get_table_columns_and_constraints() }};

        insert into {{ relation }} ({{ adapter.dispatch('get_column_names', 'dbt')() }})
        {{ get_select_subquery(sql) }};
    {%- endif -%}
{%- endmacro %}


{% macro create_index_once(name, columns) -%}
    {%- if execute and run_query("select to_regclass('" ~ this.schema ~ "." ~ name ~ "') is null").columns[0].values()[0] -%}
        create index {{ name }} on {{ this }} ({{ columns }})
    {%- endif -%}
{%- endmacro %}
