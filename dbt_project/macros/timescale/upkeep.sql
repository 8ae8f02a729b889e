{#- Run-operation: applies the variables to the hypertables, then compresses old chunks, oldest first. -#}
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
            {#- each chunk has its own transaction, so dbt's must have ended; after a commit in SQL, psycopg2 begins no new one -#}
            {%- do run_query('begin; commit') -%}
            {%- do run_query(compress_in_order(compressed)) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#- Whether to compress chunks: the variable says so, and the server can; TimescaleDB's Apache edition has no columnstore. -#}
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


{#- All targets share the raw tables, so only target public maintains them. -#}
{% macro kept_hypertables() -%}
    {%- set found = [] -%}
    {%- if target.schema == 'public' -%}
        {%- do found.append({
            'name': 'deribit_raw.candles', 'chunk': '30 days', 'columnstore': true,
            'segment_by': 'instrument,resolution', 'order_by': '"timestamp",_dlt_load_id',
        }) -%}
        {%- do found.append({
            'name': 'deribit_raw.funding', 'chunk': '84 days', 'columnstore': true,
            'segment_by': 'instrument', 'order_by': '"timestamp",_dlt_load_id',
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


{#- Statements, in order, for settings that differ on the server. Without a columnstore its policies are removed, and compressed chunks
    stay compressed. -#}
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

    -- all changes of a table or none: a policy cannot be added before the columnstore is enabled
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


{#- Some changes lock the whole table. This does not wait for a load inside a COPY, and no other session waits long for this. -#}
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


{#- Settings of this role, as which the policies run, in this database; every role may change its own. -#}
{% macro set_compression() -%}
    {%- set settings -%}
        select
            name,
            -- TimescaleDB before 2.26 allows at most 1000 rows in a batch
            case when vartype = 'integer' then least(max_val::integer, {{ var('columnstore_batch') | int }})::text else 'off' end as wanted
        from pg_settings
        -- by default an index on two columns gets a bloom filter, which no query of candles can use, and chunks with and
        -- without one are not merged
        where name in ('timescaledb.compression_batch_size_limit', 'timescaledb.enable_sparse_index_bloom')
    {%- endset -%}
    {%- for setting in run_query('select * from (' ~ settings ~ ') as settings where wanted <> current_setting(name)').rows -%}
        {%- set value = setting.name ~ " = '" ~ setting.wanted ~ "'" -%}
        {%- do run_query('alter role current_user in database ' ~ adapter.quote(target.dbname) ~ ' set ' ~ value ~ '; set ' ~ value) -%}
        {{ log('set ' ~ value, info=true) }}
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
    -- bit 1: the chunk is compressed, further bits: rows were added later; bit 4: the chunk is frozen
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
            -- commit after each chunk, so that a reader waits for one chunk and not for all
            commit;
        end loop;
    end
    $compress$
{%- endmacro %}
