with candles as (

    select * from {{ source('deribit_raw', 'candles') }}

),

final as (

    select
        timestamp,
        instrument::text as instrument,
        {{ exact_numeric('open') }} as open,
        {{ exact_numeric('high') }} as high,
        {{ exact_numeric('low') }} as low,
        {{ exact_numeric('close') }} as close,
        {{ exact_numeric('volume') }} as volume,
        cost,
        _dlt_load_id::text as load_id
    from candles
    where resolution = '{{ base_resolution() }}'
        and {{ is_usable() }}
        and {{ load_is_complete() }}

)

select * from final
