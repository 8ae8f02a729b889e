{#- dbt compile and dbt docs also run this, and need no tables. -#}
{% macro prepare() -%}
    {%- if execute and flags.WHICH in ['build', 'run', 'test', 'seed', 'snapshot', 'retry'] -%}
        {{ expect_variables() }}
        {{ expect_rows_wanted() }}
        {%- set found = run_query(what_is_there()).rows[0] -%}
        {%- if not found.has_extension -%}
            {{ exceptions.raise_compiler_error(
                "no TimescaleDB in database " ~ target.dbname ~ "; as a superuser run there: create extension timescaledb"
            ) }}
        {%- elif found.hidden_in -%}
            {{ exceptions.raise_compiler_error(
                "TimescaleDB is in schema " ~ found.hidden_in ~ ", outside the search_path of role " ~ target.user
                ~ "; run: alter role " ~ adapter.quote(target.user) ~ " in database " ~ adapter.quote(target.dbname)
                ~ " set search_path to " ~ found.search_path ~ ", " ~ found.hidden_in
            ) }}
        {%- elif found.missing_raw_tables -%}
            {{ exceptions.raise_compiler_error(
                "schema deribit_raw of database " ~ target.dbname ~ " lacks " ~ found.missing_raw_tables
                ~ "; load candles first, for example with perps backfill"
            ) }}
        {%- elif not run_query(is_prepared()).columns[0].values()[0] -%}
            {{ exceptions.raise_compiler_error(
                "deribit_raw.candles is not a hypertable yet, because its first load was killed; "
                ~ "load candles first, for example with perps update"
            ) }}
        {%- elif found.has_bookkeeping -%}
            {{ expect_one_resolution() }}
        {%- else -%}
            {{ create_bookkeeping(found.has_schema) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- Views on a table that dlt has just created would keep the load from turning it into a hypertable. -#}
{% macro is_prepared() -%}
    select exists (
        select from timescaledb_information.hypertables
        where hypertable_schema = 'deribit_raw'
            and hypertable_name = 'candles'
    ) as is_prepared
{%- endmacro %}


{% macro bookkeeping_schema() -%}
    {{ return(generate_schema_name('quality', none) | trim) }}
{%- endmacro %}


{% macro bookkeeping(table) -%}
    {{ return(bookkeeping_schema() ~ '.' ~ table) }}
{%- endmacro %}


{% macro what_is_there() -%}
    select
        exists (select from pg_extension where extname = 'timescaledb') as has_extension,
        (
            select quote_ident(nspname)
            from pg_extension
            join pg_namespace on pg_namespace.oid = extnamespace
            where extname = 'timescaledb' and not exists (
                select from pg_proc
                where proname = 'create_hypertable' and pronamespace = extnamespace and pg_function_is_visible(oid)
            )
        ) as hidden_in,
        current_setting('search_path') as search_path,
        to_regnamespace('{{ bookkeeping_schema() }}') is not null as has_schema,
        (
            select string_agg(name, ', ')
            from unnest(array['candles', 'fetches', 'funding', 'instruments', 'settlements', '_dlt_loads']) as name
            where to_regclass('deribit_raw.' || name) is null
        ) as missing_raw_tables,
        (
            select bool_and(to_regclass(name) is not null)
            from unnest(array[
                '{{ bookkeeping('watermarks') }}', '{{ bookkeeping('definitions') }}', '{{ bookkeeping('known_gaps') }}'
            ]) as name
        ) and exists (
            select from pg_attribute
            where attrelid = to_regclass('{{ bookkeeping('known_gaps') }}')
                and attname = 'endpoint'
        ) as has_bookkeeping
{%- endmacro %}


{% macro create_bookkeeping(has_schema) -%}
    select pg_advisory_xact_lock(hashtext('{{ bookkeeping('watermarks') }}'));
    {#- "create schema if not exists" needs the privilege to create schemas even if the schema exists -#}
    {{ 'create schema if not exists ' ~ bookkeeping_schema() ~ ';' if not has_schema }}
    create table if not exists {{ bookkeeping('watermarks') }} (
        relation text primary key,
        resolution text not null,
        read_to numeric not null,
        changed_to numeric not null,
        read_at timestamptz not null,
        has_rows boolean not null
    );
    create table if not exists {{ bookkeeping('definitions') }} (
        relation text primary key,
        definition text not null,
        stored text
    );
    create table if not exists {{ bookkeeping('known_gaps') }} (
        instrument text,
        gap_start timestamptz,
        gap_end timestamptz,
        reason text,
        evidence text,
        endpoint text
    );
    {%- do adapter.cache_added(
        api.Relation.create(database=target.database, schema=bookkeeping_schema(), identifier='known_gaps', type='table')
    ) -%}
{%- endmacro %}


{% macro expect_rows_wanted() -%}
    {%- if flags.EMPTY -%}
        {{ exceptions.raise_compiler_error(
            "--empty cannot be used, because loads would count as read without being read; remove it"
        ) }}
    {%- endif -%}
{%- endmacro %}


{% macro expect_one_resolution() -%}
    {%- set table = target.schema ~ '.perpetuals_ohlcv' -%}
    {%- set other = run_query(
        "select resolution from " ~ bookkeeping('watermarks') ~ " where relation = '" ~ table ~ "'"
        ~ " and resolution <> '" ~ base_resolution() ~ "' and to_regclass('" ~ table ~ "') is not null"
    ).columns[0].values() -%}
    {%- if other | length > 0 -%}
        {{ exceptions.raise_compiler_error(
            table ~ " was built with base_resolution " ~ other[0] ~ ", got " ~ base_resolution()
            ~ "; set the variable to " ~ other[0] ~ ", or use another target or database"
        ) }}
    {%- endif -%}
{%- endmacro %}


{% macro expect_variables() -%}
    {%- set minutes, interval = '[0-9]{1,6}', '[1-9][0-9]{0,3} (hour|day|week)s?' -%}
    {%- for name, pattern, wanted in [
        ('gap_threshold_minutes', minutes, 'a whole number of minutes'),
        ('tail_threshold_minutes', minutes, 'a whole number of minutes'),
        ('fill_run_minutes', minutes, 'a whole number of minutes'),
        ('jump_factor', '[1-9][0-9]{0,3}', 'a whole number from 1 to 9999'),
        ('jump_floor_percent', '[0-9]{1,3}([.][0-9]{1,4})?', 'a number of percent, such as 2 or 0.5'),
        ('chunk_interval', interval, 'such as 30 days, in hours, days or weeks'),
        ('columnstore_chunk_interval', interval, 'such as 30 days, in hours, days or weeks'),
        ('columnstore_after', interval, 'such as 30 days, in hours, days or weeks'),
        ('columnstore_merge', interval, 'such as 30 days, in hours, days or weeks'),
        ('columnstore_batch', '[1-9][0-9]{0,3}|[12][0-9]{4}|3[01][0-9]{3}|32[0-6][0-9]{2}|327[0-5][0-9]|3276[0-7]', '1 to 32767 candles'),
        ('columnstore', 'True|False', 'true or false'),
    ] if not modules.re.fullmatch(pattern, var(name) | string) -%}
        {{ exceptions.raise_compiler_error(
            'expected ' ~ name ~ ' to be ' ~ wanted ~ ", got '" ~ var(name) ~ "'; correct the dbt variable"
        ) }}
    {%- endfor -%}
{%- endmacro %}
