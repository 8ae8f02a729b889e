{% macro postgres__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- set documented = {} -%}
    {%- if for_relation and config.persist_relation_docs() -%}
        {%- do documented.update({'': model.description | trim}) -%}
    {%- endif -%}
    {%- if for_columns and config.persist_column_docs() -%}
        {%- for column in model.columns.values() -%}
            {%- do documented.update({column.name: column.description | trim}) -%}
        {%- endfor -%}
    {%- endif -%}
    {#- each comment takes a lock and a row of the catalogue, even when it is the one that is there -#}
    {%- set differing = run_query(comments_that_differ(relation, documented)).columns[0].values() -%}
    {%- if differing | length > 0 -%}
        {%- set statements = [] -%}
        {%- for name in differing -%}
            {%- set what = relation.type ~ ' ' ~ relation if name == '' else 'column ' ~ relation ~ '.' ~ adapter.quote(name) -%}
            {%- do statements.append('comment on ' ~ what ~ ' is ' ~ postgres_escape_comment(documented[name])) -%}
        {%- endfor -%}
        {%- do run_query(statements | join('; ')) -%}
    {%- endif -%}
{%- endmacro %}


{% macro comments_that_differ(relation, documented) -%}
    with documented (name, wanted) as (

        values
            {% for name, comment in documented.items() -%}
            ('{{ name }}', {{ postgres_escape_comment(comment) }}),
            {% endfor -%}
            (null, null)

    ),

    held as (

        select
            '' as name,
            obj_description('{{ relation.include(database=false) }}'::regclass, 'pg_class') as comment

        union all

        select
            attname,
            col_description(attrelid, attnum)
        from pg_attribute
        where attrelid = '{{ relation.include(database=false) }}'::regclass
            and attnum > 0
            and not attisdropped

    )

    select documented.name
    from documented
    inner join held on held.name = documented.name
    where held.comment is distinct from nullif(documented.wanted, '')
{%- endmacro %}
