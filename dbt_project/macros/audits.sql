{% macro create_audits() -%}
    {%- if execute and run_query("select to_regclass('quality.audits') is null").columns[0].values()[0] -%}
        select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), 0);
        create table if not exists quality.audits (
            invocation_id text not null,
            started_at timestamptz not null,
            passed_at timestamptz,
            loads text[] not null,
            primary key (invocation_id)
        );
    {%- endif -%}
{%- endmacro %}


{% macro audit_tests() -%}
    {%- set tests = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'test' and 'audit' in node.tags -%}
        {%- do tests.append(node.unique_id) -%}
    {%- endfor -%}
    {{ return(tests) }}
{%- endmacro %}


{% macro is_whole_audit() -%}
    {%- set tests = audit_tests() -%}
    {{ return(
        flags.WHICH in ['build', 'test']
        and tests | length > 0
        and tests | reject('in', selected_resources) | list | length == 0
    ) }}
{%- endmacro %}


{% macro claimants() -%}
    {{ return([
        'exchange_bars', 'loaded_days', 'ohlcv_days', 'ohlcv_reconciliation', 'ohlcv_reconciliation bars',
        'ohlcv_revisions', 'perpetuals_ohlcv', 'rejected_candles'
    ]) }}
{%- endmacro %}


{% macro settled_loads() -%}
    select own.load_id
    from quality.consumed_loads as own
    inner join {{ source('deribit_raw', '_dlt_loads') }} as loads
        on loads.load_id = own.load_id
        and loads.status = 0
    where own.claimed_by is not null
        and own.model in ('{{ claimants() | join("', '") }}')
        -- what was claimed again upstream has not been followed yet
        and (
            own.follows is null
            or own.follows in (
                select upstream.claimed_by
                from quality.consumed_loads as upstream
                where upstream.load_id = own.load_id
            )
        )
    group by own.load_id
    having count(distinct own.model) = {{ claimants() | length }}
{%- endmacro %}


{% macro begin_audit() -%}
    {%- if execute and is_whole_audit() -%}
        insert into quality.audits (invocation_id, started_at, loads)
        select
            '{{ invocation_id }}',
            now(),
            array(
                select load_id
                from ({{ settled_loads() | indent(16) }}) as settled
                order by load_id::numeric
            )
    {%- endif -%}
{%- endmacro %}


{% macro end_audit(results) -%}
    {%- if execute and is_whole_audit() -%}
        {%- set passed = [] -%}
        {%- for result in results if result.status == 'pass' -%}
            {%- do passed.append(result.node.unique_id) -%}
        {%- endfor -%}
        {%- if audit_tests() | reject('in', passed) | list | length == 0 -%}
            update quality.audits
            set passed_at = clock_timestamp()
            where invocation_id = '{{ invocation_id }}'
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
