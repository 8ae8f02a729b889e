{#- At the end of a command: logs how to fix each failed test whose meta says how. -#}
{% macro advise(results) -%}
    {%- for result in results if result.status in ['fail', 'error'] and result.node.resource_type == 'test' -%}
        {%- set heals = (result.node.config.meta or {}).get('heals') -%}
        {%- if heals -%}
            {%- set tested = graph.nodes.get(result.node.attached_node, {}).get('name', '') -%}
            {{ log(result.node.name ~ ' failed; to fix it: ' ~ heals | trim | replace('THE_MODEL', tested), info=true) }}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}
