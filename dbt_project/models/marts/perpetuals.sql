with instruments as (

    select * from {{ ref('stg_instruments') }}

),

days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

newest as (

    select distinct on (instrument) *
    from instruments
    order by
        instrument,
        load_number desc,
        seen_at desc

),

candles as (

    select
        instrument,
        min(first_candle) as first_candle,
        max(last_candle) as last_candle,
        max(last_traded) as last_traded
    from days
    group by instrument

),

final as (

    select
        newest.instrument,
        newest.instrument_type,
        newest.base_currency,
        newest.quote_currency,
        newest.settlement_currency,
        newest.tick_size,
        newest.contract_size,
        newest.min_trade_amount,
        newest.listed_at,
        newest.is_active,
        newest.seen_at,
        candles.first_candle,
        candles.last_candle,
        candles.last_traded
    from newest
    left join candles on candles.instrument = newest.instrument

)

select * from final
