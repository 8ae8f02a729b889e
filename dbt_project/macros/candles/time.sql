{% macro utc_day(time) -%}
    ({{ time }} at time zone 'UTC')::date
{%- endmacro %}


{% macro day_open(day) -%}
    ({{ day }}::timestamp at time zone 'UTC')
{%- endmacro %}


{% macro bucket_open(time, minutes=none, anchor=none) -%}
    date_bin(
        interval '{{ minutes or bucket_minutes() }} minutes',
        {{ time }},
        timestamptz '1970-01-01 {{ anchor or bucket_anchors()[0] }}:00+00'
    )
{%- endmacro %}


{#- Deribit's clock is this server's clock plus the difference between the two when the newest load arrived. -#}
{% macro exchange_clock() -%}
    select now() - coalesce(
        (
            select loads.loaded_at - max(fetches.fetched_at)
            from {{ ref('stg_fetches') }} as fetches
            inner join {{ ref('stg_loads') }} as loads on loads.load_number = fetches.load_number
            -- from the table and not from its staging view, so that an index can be used
            where fetches.load_number = (
                select max(_dlt_load_id::numeric) from {{ source('deribit_raw', 'fetches') }}
                where _dlt_load_id::numeric <= {{ read_to('ohlcv_candle_days') | indent(16) }}
            )
            group by loads.loaded_at
        ),
        interval '0'
    )
{%- endmacro %}
