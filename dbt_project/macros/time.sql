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


{% macro exchange_clock() -%}
    select coalesce(
        (
            select now() - (loads.inserted_at - fetches.fetched_at)
            from {{ source('deribit_raw', 'fetches') }} as fetches
            inner join {{ source('deribit_raw', '_dlt_loads') }} as loads on loads.load_id = fetches._dlt_load_id
            where loads.status = 0
            order by loads.load_id::numeric desc, fetches.fetched_at desc
            limit 1
        ),
        now()
    )
{%- endmacro %}
