{#- Run-operation: settings of hypertables as the variables want them, then old chunks compressed, in order of time. -#}
{% macro upkeep() -%}
    {%- set hypertables = kept_hypertables() -%}
    {%- if hypertables -%}
        {%- for change in run_query(changes_wanted(hypertables)).rows -%}
            {%- do make_change(change.statement) -%}
        {%- endfor -%}
        {%- set compressed = hypertables | selectattr('columnstore') | map(attribute='name') | list -%}
        {%- if has_columnstore() and compressed -%}
            {%- do set_compression() -%}
            {{ log('compressing ' ~ run_query(chunks_to_compress(compressed)).rows | length ~ ' chunks', info=true) }}
            {#- each chunk has a transaction of its own, so dbt's must have ended; psycopg2 begins none after a commit in SQL -#}
            {%- do run_query('begin; commit') -%}
            {%- do run_query(compress_in_order(compressed)) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- Whether chunks are to be compressed, and can be: TimescaleDB's Apache edition has no columnstore. -#}
{% macro has_columnstore() -%}
    {{ return(
        execute
        and var('columnstore')
        and run_query("select current_setting('timescaledb.license', true) = 'timescale' as has").columns[0].values()[0]
    ) }}
{%- endmacro %}


{% macro chunk_interval_of(options) -%}
    {%- set compressed = options.columnstore_chunk_interval if options.columnstore and has_columnstore() else none -%}
    {{ return(compressed or options.chunk_interval) }}
{%- endmacro %}


{#- Raw belongs to every target, so only the one of schema public looks after it. -#}
{% macro kept_hypertables() -%}
    {%- set found = [] -%}
    {%- if target.schema == 'public' -%}
        {%- do found.append({
            'name': 'deribit_raw.candles', 'chunk': '30 days', 'columnstore': true,
            'segment_by': 'instrument,resolution', 'order_by': '"timestamp",_dlt_load_id',
        }) -%}
    {%- endif -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.materialized == 'hypertable' -%}
        {%- set options = hypertable_options(node) -%}
        {%- do found.append({
            'name': node.schema ~ '.' ~ node.alias, 'chunk': chunk_interval_of(options), 'columnstore': options.columnstore,
            'segment_by': 'instrument', 'order_by': '"' ~ options.time_column ~ '"',
        }) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{#- Statements, in order, for what the server has otherwise. Where there is no columnstore its policies go, and what is
    compressed stays so. -#}
{% macro changes_wanted(hypertables) -%}
    {%- set wanted = has_columnstore() -%}
    with wanted (name, chunk, is_compressed, segment_by, order_by) as (

        values
            {% for each in hypertables -%}
            ('{{ each.name }}', interval '{{ each.chunk }}', {{ wanted and each.columnstore }}, '{{ each.segment_by }}', '{{ each.order_by }}')
            {{- ',' if not loop.last }}
            {% endfor %}
    ),

    found as (

        select
            wanted.*,
            dimensions.time_interval,
            jobs.job_id is not null as has_policy,
            (jobs.config ->> 'compress_after')::interval is not distinct from interval '{{ var('columnstore_after') }}' as has_this_policy,
            (options.segmentby, options.orderby, options.compress_interval_length::interval)
            is not distinct from
            (wanted.segment_by, wanted.order_by, interval '{{ var('columnstore_merge') }}') as has_these_options
        from wanted
        inner join timescaledb_information.dimensions as dimensions
            on format('%s.%s', dimensions.hypertable_schema, dimensions.hypertable_name) = wanted.name
            and dimensions.dimension_number = 1
        left join timescaledb_information.hypertable_compression_settings as options
            on options.hypertable = to_regclass(wanted.name)
        left join timescaledb_information.jobs as jobs
            on format('%s.%s', jobs.hypertable_schema, jobs.hypertable_name) = wanted.name
            and jobs.proc_name = 'policy_compression'

    )

    -- of a table all or nothing: a policy cannot be added to one whose columnstore had to wait
    select string_agg(changes.statement, '; ' order by changes.position) as statement
    from found
    cross join lateral (
        values
            (1, time_interval <> chunk, format('select set_chunk_time_interval(%L, interval %L)', name, chunk)),
            (2, has_policy and not (is_compressed and has_this_policy), format('call remove_columnstore_policy(%L)', name)),
            (3, is_compressed and not has_these_options, format(
                'alter table %s set (timescaledb.enable_columnstore, timescaledb.segmentby = %L, timescaledb.orderby = %L, '
                'timescaledb.compress_chunk_time_interval = %L)',
                name, segment_by, order_by, '{{ var('columnstore_merge') }}'
            )),
            (4, is_compressed and not has_this_policy, format(
                'call add_columnstore_policy(%L, after => interval %L, initial_start => now() + interval %L)',
                name, '{{ var('columnstore_after') }}', '12 hours'
            ))
    ) as changes (position, is_needed, statement)
    where changes.is_needed
    group by found.name
    order by found.name
{%- endmacro %}


{#- Some changes take the whole table. A load inside a COPY is not waited for, and nobody waits long behind this. -#}
{% macro make_change(statement) -%}
    {%- set query -%}
        do $make$
        begin
            set local lock_timeout = '5s';
            execute $change${{ statement }}$change$;
            set local lock_timeout to default;
            perform set_config('perps.changed', 'yes', false);
        exception when lock_not_available then
            perform set_config('perps.changed', 'no', false);
        end
        $make$
    {%- endset -%}
    {%- do run_query(query) -%}
    {%- set changed = run_query("select current_setting('perps.changed') = 'yes' as changed").columns[0].values()[0] -%}
    {{ log(('' if changed else 'in use, left for the next upkeep: ') ~ statement, info=true) }}
{%- endmacro %}


{#- Of this role, which the policies run as, in this database: a right that every role has. -#}
{% macro set_compression() -%}
    {%- set settings -%}
        select
            name,
            -- TimescaleDB before 2.26 holds 1000 in a batch at most
            case when vartype = 'integer' then least(max_val::integer, {{ var('columnstore_batch') | int }})::text else 'off' end as wanted
        from pg_settings
        -- by default the two columns of an index together have a bloom filter, which no query of candles can use, and a
        -- chunk that has one is merged with none
        where name in ('timescaledb.compression_batch_size_limit', 'timescaledb.enable_sparse_index_bloom')
    {%- endset -%}
    {%- for setting in run_query('select * from (' ~ settings ~ ') as settings where wanted <> current_setting(name)').rows -%}
        {%- set value = setting.name ~ " = '" ~ setting.wanted ~ "'" -%}
        {%- do run_query('alter role current_user in database ' ~ adapter.quote(target.dbname) ~ ' set ' ~ value ~ '; set ' ~ value) -%}
        {{ log(value ~ ' from now on', info=true) }}
    {%- endfor -%}
{%- endmacro %}


{% macro chunks_to_compress(names) -%}
    with old_chunks as (

        select
            hypertable_name,
            range_start,
            format('%I.%I', chunk_schema, chunk_name)::regclass as chunk
        from timescaledb_information.chunks
        where format('%s.%s', hypertable_schema, hypertable_name) in ({{ literals(names) }})
            and range_end < now() - interval '{{ var('columnstore_after') }}'

    )

    select chunk
    from old_chunks
    -- 1 is a compressed chunk, with more in it where rows came later; 4 one that must not be touched
    where _timescaledb_functions.chunk_status(chunk) <> 1
        and _timescaledb_functions.chunk_status(chunk) & 4 = 0
    order by hypertable_name, range_start
{%- endmacro %}


{% macro compress_in_order(names) -%}
    do $compress$
    declare
        waiting regclass;
    begin
        for waiting in
            {{ chunks_to_compress(names) | indent(12) }}
        loop
            begin
                set local lock_timeout = '10s';
                perform compress_chunk(waiting, true);
            exception when others then
                raise warning 'could not compress %: %', waiting, sqlerrm;
            end;
            -- a reader waits for one chunk, not for all
            commit;
        end loop;
    end
    $compress$
{%- endmacro %}
