with settlements as (

    select * from {{ source('deribit_raw', 'settlements') }}

),

final as (

    select
        timestamp as settled_at,
        instrument::text as instrument,
        position as open_interest,
        mark_price,
        index_price,
        profit_loss,
        session_profit_loss,
        _dlt_load_id::text as load_id
    from settlements
    where {{ load_is_complete() }}

)

select * from final
