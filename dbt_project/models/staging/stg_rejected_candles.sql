with candles as (

    select * from {{ source('deribit_raw', 'candles') }}

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
        and {{ load_is_complete() }}

)

select * from final
