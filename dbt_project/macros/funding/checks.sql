{#- Condition for "no rows": rows of an endpoint are there to be had. A database without them passes its tests. -#}
{% macro rows_landed(endpoint) -%}
    (
        exists (select from {{ ref('stg_' ~ endpoint) }})
        -- somebody may have emptied the raw table
        or exists (
            select from {{ ref('stg_fetches') }}
            where endpoint = '{{ endpoint }}'
                and rows > 0
        )
    )
{%- endmacro %}


{#- The same for candles, whose tests fail in an empty database too: only one into which nothing but funding or settlements was ever
    loaded has none to expect. It names no model, because orchestrators take a test with one ref for a check. -#}
{% macro candles_wanted() -%}
    (
        exists (select from {{ source('deribit_raw', 'candles') }})
        or exists (select from {{ source('deribit_raw', 'fetches') }} where coalesce(endpoint, 'candles') = 'candles')
        or not exists (select from {{ source('deribit_raw', 'fetches') }})
    )
{%- endmacro %}


{#- The hours of the spans, and eight hours before each, which is_checked tells apart. -#}
{% macro funding_in(spans) -%}
    {% for span in spans -%}
    select
        *,
        {{ loop.index }} as span,
        timestamp >= '{{ span.starts_at }}' as is_checked
    from {{ ref('perpetuals_funding') }}
    where timestamp >= timestamptz '{{ span.starts_at }}' - interval '8 hours'
        and timestamp < '{{ span.ends_at }}'
    {{ 'union all' if not loop.last }}
    {% else -%}
    select
        *,
        0 as span,
        false as is_checked
    from {{ ref('perpetuals_funding') }}
    where false
    {% endfor -%}
{%- endmacro %}
