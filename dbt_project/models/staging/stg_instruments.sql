with instruments as (

    select * from {{ source('deribit_raw', 'instruments') }}

),

final as (

    select
        instrument::text as instrument,
        base_currency::text as base_currency,
        quote_currency::text as quote_currency,
        settlement_currency::text as settlement_currency,
        instrument_type::text as instrument_type,
        tick_size,
        contract_size,
        min_trade_amount,
        created_at as listed_at,
        is_active,
        ended_at,
        seen_at,
        _dlt_load_id::text as load_id,
        _dlt_load_id::numeric as load_number
    from instruments
    where {{ load_is_complete() }}

)

select * from final
