{#- A build of a relation locks its row, so that two builds of one table wait for each other here. -#}
{% macro lock_watermark(table) -%}
    {%- call statement('mark', fetch_result=true) -%}
        set local jit = off;
        set local work_mem = '64MB';
        -- new rows have no statistics yet, and the planner might choose a nested loop over all of them that takes for ever
        set local enable_nestloop = off;
        -- a late candle may change a compressed batch of any year, and the limit counts all its thousands of candles
        set local timescaledb.max_tuples_decompressed_per_dml_transaction = 0;
        insert into {{ bookkeeping('watermarks') }} values (
            '{{ relation_name(table) }}', '{{ base_resolution() }}', 0, 0, now(), false
        )
        on conflict (relation) do nothing;
        select from {{ bookkeeping('watermarks') }}
        where relation = '{{ relation_name(table) }}'
        for update;
        -- a statement of its own, which sees what the build has written that held the row
        {{ state_of(table) }}
    {%- endcall -%}
    {%- set mark = load_result('mark').table.rows[0] -%}
    {{ return({
        'is_new': mark.kind is none,
        'kind': mark.kind,
        'has_other_resolution': mark.resolution != base_resolution(),
        'had_rows': mark.has_rows,
        'read_after': mark.read_after | string,
        'read_to': mark.read_to | string,
        'definition': mark.definition,
    }) }}
{%- endmacro %}


{% macro relation_name(relation) -%}
    {{ return(relation.schema ~ '.' ~ relation.identifier) }}
{%- endmacro %}


{% macro state_of(table) -%}
    {%- set upstreams = watermarked(model, 'depends_on') -%}
    select
        resolution,
        has_rows,
        watermarks.read_to as read_after,
        (
            select
                case
                    when hypertables.hypertable_name is not null then 'hypertable'
                    when relations.relkind = 'r' then 'a plain table'
                    when relations.relkind = 'p' then 'a partitioned table'
                    when relations.relkind = 'v' then 'a view'
                    when relations.relkind = 'm' then 'a materialized view'
                    else 'a foreign table'
                end
            from pg_class as relations
            left join timescaledb_information.hypertables as hypertables
                on hypertables.hypertable_schema = '{{ table.schema }}'
                and hypertables.hypertable_name = '{{ table.identifier }}'
            where relations.oid = to_regclass('{{ relation_name(table) }}')
        ) as kind,
        (
            select definition from {{ bookkeeping('definitions') }} as definitions
            where definitions.relation = '{{ relation_name(table) }}'
        ) as definition,
        coalesce((
            {% if upstreams -%}
            select case when count(*) = {{ upstreams | length }} then min(upstreams.read_to) end
            from {{ bookkeeping('watermarks') }} as upstreams
            where upstreams.relation in ('{{ upstreams | join("', '") }}')
            {%- else -%}
            select max(load_id::numeric) from {{ source('deribit_raw', '_dlt_loads') }}
            where status = 0
            {%- endif %}
        ), 0) as read_to
    from {{ bookkeeping('watermarks') }} as watermarks
    where watermarks.relation = '{{ relation_name(table) }}'
{%- endmacro %}


{#- Names of the relations with a watermark that a node depends on, through views (direction depends_on), or of all that depend on it,
    directly or not (direction followers). -#}
{% macro watermarked(node, direction) -%}
    {%- set found = [] -%}
    {%- set near = node.depends_on.nodes if direction == 'depends_on' else graph.nodes.values()
        | selectattr('resource_type', 'equalto', 'model') | selectattr('depends_on.nodes') | list -%}
    {%- for each in near -%}
        {%- set other = graph.nodes.get(each) if direction == 'depends_on' else each -%}
        {%- if other and other.resource_type == 'model' and (direction == 'depends_on' or node.unique_id in other.depends_on.nodes) -%}
            {%- set has_mark = other.config.materialized == 'hypertable' -%}
            {%- if has_mark -%}
                {%- do found.append(other.schema ~ '.' ~ other.alias) -%}
            {%- endif -%}
            {%- if not has_mark or direction == 'followers' -%}
                {%- do found.extend(watermarked(other, direction)) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(found | unique | list) }}
{%- endmacro %}


{% macro start_again(relations) -%}
    update {{ bookkeeping('watermarks') }}
    set read_to = 0
    where relation in ('{{ relations | join("', '") }}')
{%- endmacro %}


{% macro move_watermark(table, mark, has_changes) -%}
    update {{ bookkeeping('watermarks') }}
    set
        resolution = '{{ base_resolution() }}',
        read_to = {{ mark.read_to }},
        {{ 'changed_to = ' ~ mark.read_to ~ ',' if has_changes }}
        read_at = now(),
        has_rows = exists (select from {{ table }})
    where relation = '{{ relation_name(table) }}'
{%- endmacro %}


{#- For the SQL of models and tests: the newest load that a model has read; 0 if it has read none. -#}
{% macro read_to(model_name, column='read_to') -%}
    coalesce((
        select {{ column }} from {{ bookkeeping('watermarks') }}
        where relation = '{{ relation_of(model_name) }}'
    ), 0)
{%- endmacro %}


{% macro relation_of(model_name) -%}
    {%- for node in (graph.nodes.values() if execute else []) if node.resource_type == 'model' and node.name == model_name -%}
        {{ return(node.schema ~ '.' ~ node.alias) }}
    {%- endfor -%}
    {{ return('') }}
{%- endmacro %}


{% macro reread_loads(model) -%}
    {%- set nodes = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | list -%}
    {%- set named = nodes | selectattr('name', 'equalto', model) | selectattr('config.materialized', 'equalto', 'hypertable') | list -%}
    {%- if named | length == 0 -%}
        {{ exceptions.raise_compiler_error(
            "expected the name of a model that reads loads, got '" ~ model ~ "'; name one of "
            ~ nodes | selectattr('config.materialized', 'equalto', 'hypertable') | map(attribute='name') | sort | join(', ')
        ) }}
    {%- endif -%}
    {%- set relations = [named[0].schema ~ '.' ~ named[0].alias] + watermarked(named[0], 'followers') -%}
    {#- outside of models dbt begins no transaction, and the session may or may not be in one -#}
    {%- do run_query('begin; ' ~ start_again(relations) ~ '; commit') -%}
    {{ log(relations | join(', ') ~ ' will read all loads again in the next dbt build', info=true) }}
{%- endmacro %}


{#- For tests that compare two models: whether a model has not yet read all loads that changed another one. -#}
{% macro is_behind(follower, upstream='perpetuals_ohlcv') -%}
    {{ read_to(follower) }} < {{ read_to(upstream, 'changed_to') }}
{%- endmacro %}
