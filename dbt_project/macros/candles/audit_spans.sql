{% macro audit_spans() -%}
    select
        opens_at,
        lead(opens_at, 1, 'infinity') over (order by opens_at) as closes_at
    from (
        select '-infinity'::timestamptz as opens_at

        union all

        select {{ bucket_open('opens_at', minutes=30 * 1440, anchor='00') }}
        from (
            select generate_series(min(timestamp), max(timestamp) + interval '30 days', interval '30 days') as opens_at
            from {{ ref('perpetuals_ohlcv') }}
        ) as months
    ) as edges
{%- endmacro %}
