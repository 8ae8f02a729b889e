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
        and _dlt_load_id not in (select load_id from unfinished_loads)

)

select * from final
