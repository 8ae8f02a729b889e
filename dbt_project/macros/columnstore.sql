{% macro has_columnstore() -%}
    {{ return(execute and run_query("select current_setting('timescaledb.license') = 'timescale'").columns[0].values()[0]) }}
{%- endmacro %}


{% macro chunk_interval_of(hypertable) -%}
    {%- set compressed = hypertable.columnstore_chunk_interval or hypertable.chunk_interval -%}
    {{ return(compressed if var('columnstore') and has_columnstore() else hypertable.chunk_interval) }}
{%- endmacro %}


{% macro merge_interval_of(hypertable) -%}
    {{ return(hypertable.columnstore_merge or var('columnstore_merge')) }}
{%- endmacro %}


{% macro reconcile_hypertable(relation=none, hypertable=none) -%}
    {%- if execute -%}
        {%- set relation = relation or this -%}
        {%- set hypertable = hypertable or hypertable_config() -%}
        {%- set changes = chunk_interval_changes(relation, hypertable) -%}
        {%- if has_columnstore() -%}
            {%- set changes = changes + columnstore_changes(relation, hypertable) -%}
        {%- endif -%}
        {%- if changes -%}
            {{ change_hypertable(relation, changes) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro chunk_interval_changes(relation, hypertable) -%}
    {%- set interval = chunk_interval_of(hypertable) -%}
    {%- if run_query(chunk_interval_differs(relation, interval)).columns[0].values()[0] -%}
        {{ return(["select set_chunk_time_interval('" ~ relation.include(database=false) ~ "', interval '" ~ interval ~ "')"]) }}
    {%- endif -%}
    {{ return([]) }}
{%- endmacro %}


{% macro columnstore_changes(relation, hypertable) -%}
    {%- set table = relation.include(database=false) -%}
    {%- set wanted = var('columnstore') -%}
    {%- set found = run_query(columnstore_state(relation, hypertable)).rows[0] -%}
    {%- set changes = [] -%}
    {%- if found.has_policy and not (wanted and found.has_this_policy) -%}
        {%- do changes.append("call remove_columnstore_policy('" ~ table ~ "')") -%}
    {%- endif -%}
    {%- if wanted and not found.has_these_options -%}
        {%- do changes.append(
            "alter table " ~ table ~ " set ("
            ~ "timescaledb.enable_columnstore, "
            ~ "timescaledb.segmentby = '" ~ hypertable.segment_by | join(', ') ~ "', "
            ~ "timescaledb.orderby = '" ~ hypertable.order_by | join(', ') ~ "', "
            ~ "timescaledb.compress_chunk_time_interval = '" ~ merge_interval_of(hypertable) ~ "')"
        ) -%}
    {%- endif -%}
    {%- if wanted and not found.has_this_policy -%}
        {%- do changes.append(
            "call add_columnstore_policy('" ~ table ~ "', after => interval '" ~ var('columnstore_after') ~ "', initial_start => now() + interval '12 hours')"
        ) -%}
    {%- endif -%}
    {{ return(changes) }}
{%- endmacro %}


{% macro reconcile_raw() -%}
    {%- if execute and flags.WHICH in ['build', 'run'] -%}
        {%- set hypertable = {
            'chunk_interval': '30 days',
            'columnstore_chunk_interval': '30 days',
            'segment_by': ['instrument', 'resolution'],
            'order_by': ['"timestamp"', '_dlt_load_id'],
            'columnstore_merge': none if var('raw_retention') == 'forever' else '30 days',
        } -%}
        {{ reconcile_hypertable(source('deribit_raw', 'candles'), hypertable) }}
        {{ reconcile_compression() }}
    {%- endif -%}
{%- endmacro %}


{% macro reconcile_compression() -%}
    {%- if var('columnstore') and has_columnstore() -%}
        {%- for setting in run_query(compression_settings()).rows if setting.wanted != setting.held -%}
            {#- of this role, which the policies run as, in this database: a right that every role has -#}
            {%- do run_query(
                "alter role current_user in database " ~ adapter.quote(target.dbname)
                ~ " set " ~ setting.name ~ " = '" ~ setting.wanted ~ "'"
            ) -%}
            {{ log(setting.name ~ ' is ' ~ setting.wanted ~ ' from now on', info=true) }}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{% macro compression_settings() -%}
    with wanted as (

        select * from (
            values
                ('timescaledb.compression_batch_size_limit', '{{ var('columnstore_batch') | int }}'),
                -- by default the two columns of an index together have one, which no query of candles can use, and a chunk
                -- that has one is merged with none
                ('timescaledb.enable_sparse_index_bloom', 'off')
        ) as settings (name, value)

    ),

    final as (

        select
            held.name,
            held.setting as held,
            -- older servers hold 1000 in a batch at most
            case
                when held.vartype = 'integer' then least(held.max_val::integer, wanted.value::integer)::text
                else wanted.value
            end as wanted
        from wanted
        -- older servers have one of them or none
        inner join pg_settings as held on held.name = wanted.name

    )

    select * from final
{%- endmacro %}


{% macro change_hypertable(relation, changes) -%}
    {%- do run_query(changes_or_nothing(changes)) -%}
    {%- set changed = run_query("select current_setting('perps.changed') = 'yes'").columns[0].values()[0] -%}
    {%- for change in changes -%}
        {{ log(relation.identifier ~ ': ' ~ ('' if changed else 'in use, left for the next build: ') ~ change, info=true) }}
    {%- endfor -%}
{%- endmacro %}


{% macro changes_or_nothing(changes) -%}
    do $changes$
    begin
        -- some take the whole table: a load inside a COPY is not waited for, and nobody waits long behind this
        set local lock_timeout = '5s';
        {%- for change in changes %}
        execute $change${{ change }}$change$;
        {%- endfor %}
        set local lock_timeout to default;
        perform set_config('perps.changed', 'yes', false);
    exception when lock_not_available then
        perform set_config('perps.changed', 'no', false);
    end
    $changes$
{%- endmacro %}


{% macro chunk_interval_differs(relation, interval) -%}
    select time_interval is distinct from interval '{{ interval }}'
    from timescaledb_information.dimensions
    where hypertable_schema = '{{ relation.schema }}'
        and hypertable_name = '{{ relation.identifier }}'
        and dimension_number = 1
{%- endmacro %}


{% macro columnstore_state(relation, hypertable) -%}
    with options as (

        select * from timescaledb_information.hypertable_compression_settings
        where hypertable = '{{ relation.include(database=false) }}'::regclass

    ),

    policies as (

        select (config ->> 'compress_after')::interval as compress_after
        from timescaledb_information.jobs
        where proc_name = 'policy_compression'
            and hypertable_schema = '{{ relation.schema }}'
            and hypertable_name = '{{ relation.identifier }}'

    )

    select
        exists (
            select from options
            where segmentby = '{{ hypertable.segment_by | join(',') }}'
                and orderby = '{{ hypertable.order_by | join(',') }}'
                and compress_interval_length::interval = interval '{{ merge_interval_of(hypertable) }}'
        ) as has_these_options,
        exists (select from policies) as has_policy,
        exists (
            select from policies
            where compress_after = interval '{{ var('columnstore_after') }}'
        ) as has_this_policy
{%- endmacro %}


{% macro allow_decompression() -%}
    {%- if has_columnstore() -%}
    {#- a late candle may change a batch of any year: each holds thousands of candles, and the limit counts them all -#}
    set local timescaledb.max_tuples_decompressed_per_dml_transaction = 0;
    {%- endif -%}
{%- endmacro %}


{% macro compress_chunks() -%}
    {%- if execute and flags.WHICH == 'build' and var('columnstore') and has_columnstore() -%}
        {%- set waiting = run_query(chunks_to_compress()).columns['chunk'].values() -%}
        {%- if waiting | length > 0 -%}
            {%- do run_query('commit') -%}
            {{ log('compressing ' ~ waiting | length ~ ' chunks', info=true) }}
            {{ compress_in_order() }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro chunks_to_compress() -%}
    with hypertables as (

        {% for relation in reconciled_relations() -%}
        select
            '{{ relation.schema }}' as hypertable_schema,
            '{{ relation.identifier }}' as hypertable_name
        {{ 'union all' if not loop.last }}
        {% endfor %}
    ),

    old_chunks as (

        select
            chunks.hypertable_name,
            chunks.range_start,
            format('%I.%I', chunks.chunk_schema, chunks.chunk_name)::regclass as chunk
        from hypertables
        inner join timescaledb_information.chunks as chunks
            on chunks.hypertable_schema = hypertables.hypertable_schema
            and chunks.hypertable_name = hypertables.hypertable_name
        where chunks.range_end < now() - interval '{{ var('columnstore_after') }}'

    ),

    final as (

        select * from old_chunks
        -- 1 is a compressed chunk, with more in it where rows came later; 4 one that must not be touched
        where _timescaledb_functions.chunk_status(chunk) <> 1
            and _timescaledb_functions.chunk_status(chunk) & 4 = 0

    )

    select chunk
    from final
    order by hypertable_name, range_start
{%- endmacro %}


{% macro compress_in_order() -%}
    do $compress$
    declare
        waiting regclass;
    begin
        for waiting in
            {{ chunks_to_compress() | indent(12) }}
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


{% macro reconciled_relations() -%}
    {%- set relations = [source('deribit_raw', 'candles')] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and (node.config.meta or {}).get('hypertable') -%}
        {%- do relations.append(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) -%}
    {%- endfor -%}
    {{ return(relations) }}
{%- endmacro %}
