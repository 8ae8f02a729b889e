{% materialization lasting_view, adapter='postgres' %}
    {%- set view = this.incorporate(type='view') -%}
    {%- set definition = definition_of_model() -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    -- `BEGIN` happens here:
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- call statement('defined', fetch_result=true) -%}
        -- PostgreSQL spells times in a view's text in the session's time zone
        set local time zone 'UTC';
        select exists (
            select from {{ bookkeeping('definitions') }}
            where relation = '{{ relation_name(view) }}'
                and definition = '{{ definition }}'
                -- somebody has replaced the view by hand
                and stored = md5(pg_get_viewdef(to_regclass('{{ relation_name(view) }}')))
        ) as is_unchanged
    {%- endcall -%}
    {%- if load_result('defined').table.rows[0].is_unchanged -%}
        {%- do store_raw_result('main', message='UNCHANGED', code='UNCHANGED', rows_affected=0) -%}
    {%- else -%}
        {%- if config.get('contract').enforced -%}
            {%- do get_assert_columns_equivalent(sql) -%}
        {%- endif -%}
        {%- call statement('main') -%}
            {{ define(view, definition, comments_of(view), sql) }}
        {%- endcall -%}
        {%- do store_raw_result('main', message='CREATE VIEW', code='CREATE VIEW', rows_affected=0) -%}
    {%- endif -%}
    {%- do apply_grants(view, config.get('grants'), should_revoke=false) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}

    -- `COMMIT` happens here
    {%- do adapter.commit() -%}

    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [view]}) }}
{% endmaterialization %}


{#- The definition of a relation: SQL, columns and descriptions. -#}
{% macro definition_of_model() -%}
    {%- set parts = [model.compiled_code, model.description] -%}
    {%- for column in model.columns.values() -%}
        {%- do parts.append(column.name ~ ' ' ~ column.data_type ~ ' ' ~ column.description) -%}
    {%- endfor -%}
    {{ return(local_md5(parts | join('\n'))) }}
{%- endmacro %}


{% macro comments_of(relation) -%}
    {%- set comments = ['comment on ' ~ relation.type ~ ' ' ~ relation ~ ' is ' ~ postgres_escape_comment(model.description | trim)] -%}
    {%- for column in model.columns.values() -%}
        {%- do comments.append(
            'comment on column ' ~ relation ~ '.' ~ adapter.quote(column.name) ~ ' is ' ~ postgres_escape_comment(column.description | trim)
        ) -%}
    {%- endfor -%}
    {{ return(comments) }}
{%- endmacro %}


{#- Writes the comments and, if given, a view. It waits only seconds for its lock, so that a forgotten open transaction holds up no
    model but this one; the error names its session. -#}
{% macro define(relation, definition, comments, view_sql=none) -%}
    do $define$
    declare
        holders text;
    begin
        perform pg_advisory_xact_lock(hashtext('{{ relation_name(relation) }}'));
        set local lock_timeout = '5s';
        {%- if view_sql %}
        begin
            execute $view$create or replace view {{ relation }} as ({{ view_sql }})$view$;
        exception when invalid_table_definition then
            -- the columns changed, so the view must be dropped; without cascade, because another view may depend on it
            execute $view$drop view {{ relation }}$view$;
            execute $view$create view {{ relation }} as ({{ view_sql }})$view$;
        end;
        {%- endif %}
        {% for comment in comments -%}
        execute $comment${{ comment }}$comment$;
        {% endfor -%}
        set local lock_timeout to default;
        insert into {{ bookkeeping('definitions') }} values (
            '{{ relation_name(relation) }}',
            '{{ definition }}',
            {{ "md5(pg_get_viewdef(to_regclass('" ~ relation_name(relation) ~ "')))" if view_sql else 'null' }}
        )
        on conflict (relation) do update set definition = excluded.definition, stored = excluded.stored;
    exception when lock_not_available then
        select string_agg(
            format('session %s of %s (%s, %s)', activity.pid, activity.usename, activity.application_name, activity.state), ', '
        )
        into holders
        from pg_locks as locks
        inner join pg_stat_activity as activity on activity.pid = locks.pid
        where locks.relation = to_regclass('{{ relation_name(relation) }}')
            and locks.granted
            and locks.pid <> pg_backend_pid();
        raise exception 'could not change {{ relation_name(relation) }} within 5 s, because it is in use by %; end that session, then run dbt build again',
            coalesce(holders, 'others');
    end
    $define$
{%- endmacro %}


{#- Instead of truncate, which waits for every reader; the rows are few. -#}
{% macro postgres__reset_csv_table(model, full_refresh, old_relation, agate_table) -%}
    {%- set sql = 'delete from ' ~ old_relation -%}
    {%- do run_query(sql) -%}
    {{ return(sql) }}
{%- endmacro %}
