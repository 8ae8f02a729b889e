with candles as (

    select * from {{ source('deribit_raw', 'candles') }}

),

inexact as (

    select
        timestamp,
        instrument::text as instrument,
        {% for value in ['open', 'high', 'low', 'close', 'volume'] -%}
        {{ as_sent(value) }} as {{ value }},
        {% endfor -%}
        _dlt_load_id::text as load_id
    from candles
    where resolution = '{{ base_resolution() }}'
        and {{ is_usable() }}
        and (
            {% for value in ['open', 'high', 'low', 'close', 'volume'] -%}
            {{ 'or ' if not loop.first }}{{ is_inexact(value) }}
            {% endfor -%}
        )
        and {{ load_is_complete() }}

),

final as (

    select distinct on (instrument, timestamp) *
    from inexact
    order by {{ newest_first(['instrument', 'timestamp']) | indent(4) }}

)

select * from final
