with candles as (

    select * from {{ source('deribit_raw', 'candles') }}

),

unfinished_loads as (

    select load_id
    from {{ source('deribit_raw', '_dlt_loads') }}
    where status <> 0

),

final as (

    select
        timestamp,
        instrument::text as instrument,
        resolution::text as resolution,
        open,
        high,
        low,
        close,
        volume,
        cost,
        {{ rejection_reason() }} as reason,
        _dlt_load_id::text as load_id
    from candles
    where resolution = '{{ base_resolution() }}'
        and not {{ is_usable() }}
        and _dlt_load_id not in (select load_id from unfinished_loads)

)

select * from final
