with funding as (

    select * from {{ source('deribit_raw', 'funding') }}

),

final as (

    select
        timestamp,
        instrument::text as instrument,
        interest_1h,
        interest_8h,
        index_price,
        prev_index_price,
        _dlt_load_id::text as load_id
    from funding
    where {{ load_is_complete() }}

)

select * from final
