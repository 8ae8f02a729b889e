{#- A load holds one version of a candle. Should it hold two, ordering by value makes the choice deterministic. -#}
{% macro newest_first(columns) -%}
    {{ columns | join(', ') }},
    load_id::numeric desc,
    volume desc,
    high desc,
    low,
    close,
    open
{%- endmacro %}


{#- Within an instrument this number sorts like (instrument, timestamp desc), in half the time of two columns. -#}
{% macro index_order() -%}
    (hashtext(instrument) & 134217727) * 10000000000 - date_part('epoch', timestamp)::bigint
{%- endmacro %}
