{#- At the end of a command: what to do about a test that failed, where its meta says so. -#}
{% macro advise(results) -%}
    {%- for result in results if result.status in ['fail', 'error'] and result.node.resource_type == 'test' -%}
        {%- set heals = (result.node.config.meta or {}).get('heals') -%}
        {%- if heals -%}
            {%- set tested = graph.nodes.get(result.node.attached_node, {}).get('name', '') -%}
            {{ log(result.node.name ~ ' failed; what heals it: ' ~ heals | trim | replace('THE_MODEL', tested), info=true) }}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}
