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

-- without the row of a delisted perpetual that has only ended_at
listed as (

    select distinct on (instrument) *
    from instruments
    where ended_at is null
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
        min(day) filter (where last_traded is not null) as first_traded_day,
        max(last_traded) as last_traded
    from days
    group by instrument

),

final as (

    select
        newest.instrument,
        listed.instrument_type,
        case listed.instrument_type when 'reversed' then 'inverse' when 'linear' then 'linear' end as kind,
        listed.base_currency,
        listed.quote_currency,
        listed.settlement_currency,
        listed.tick_size,
        listed.contract_size,
        listed.min_trade_amount,
        coalesce(listed.listed_at, newest.listed_at) as listed_at,
        newest.is_active,
        newest.ended_at,
        newest.seen_at,
        candles.first_candle,
        candles.last_candle,
        -- reads no candle unless a query names the column
        (
            select min(traded.timestamp) from {{ ref('perpetuals_ohlcv') }} as traded
            where traded.instrument = newest.instrument
                and traded.timestamp >= {{ day_open('candles.first_traded_day') }}
                and traded.timestamp < {{ day_open('(candles.first_traded_day + 1)') }}
                and traded.volume > 0
        ) as first_traded,
        candles.last_traded,
        listed.quote_currency as price_unit,
        listed.base_currency as volume_unit,
        case listed.instrument_type when 'reversed' then listed.quote_currency when 'linear' then listed.base_currency end
            as open_interest_unit
    from newest
    left join listed on listed.instrument = newest.instrument
    left join candles on candles.instrument = newest.instrument

)

select * from final
