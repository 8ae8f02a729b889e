with loads as (

    select * from {{ source('deribit_raw', '_dlt_loads') }}

),

final as (

    select
        load_id::text as load_id,
        load_id::numeric as load_number,
        inserted_at as loaded_at
    from loads
    where status = 0

)

select * from final
