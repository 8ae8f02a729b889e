{#- A load holds one version of a candle; should it hold two all the same, which one wins must not be chance. -#}
{% macro newest_first(columns) -%}
    {{ columns | join(', ') }},
    load_id::numeric desc,
    volume desc,
    high desc,
    low,
    close,
    open
{%- endmacro %}


{#- One number that sorts as (instrument, timestamp desc) does within an instrument, in half the time of two columns. -#}
{% macro index_order() -%}
    (hashtext(instrument) & 134217727) * 10000000000 - date_part('epoch', timestamp)::bigint
{%- endmacro %}
