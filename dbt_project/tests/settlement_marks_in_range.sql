{{ config(severity='warn') }}

with settlements as (

    select * from {{ ref('perpetuals_settlements') }}

),

days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

-- the settlement day ends at 08:00, so two UTC days have its candles
traded as (

    select
        settlements.instrument,
        settlements.settlement_day,
        settlements.mark_price,
        min(days.low)::double precision as low,
        max(days.high)::double precision as high
    from settlements
    inner join days
        on days.instrument = settlements.instrument
        and days.day between settlements.settlement_day - 1 and settlements.settlement_day
    group by 1, 2, 3

),

final as (

    select * from traded
    where mark_price < low * 0.99
        or mark_price > high * 1.01

)

select * from final
