-- Open interest at each daily settlement, with price and volume of the day that it ends. Open interest is in USD for inverse perpetuals;
-- for linear ones the unit is unverified. Volume is in the base coin. A settlement that is an hour late still ends the day at 08:00 UTC.
with settlements as (

    select
        *,
        open_interest - lag(open_interest) over (order by settlement_day) as change,
        settlement_day - lag(settlement_day) over (order by settlement_day) = 1 as follows
    from perpetuals_settlements
    where
        instrument = 'BTC-PERPETUAL'
        and settlement_day >= '2025-09-29'
        and settlement_day < '2025-10-03'

),

final as (

    select
        settlements.settlement_day,
        settlements.open_interest,
        perpetuals.open_interest_unit as unit,
        case when settlements.follows then settlements.change end as change,
        settlements.mark_price,
        bars.close,
        bars.volume
    from settlements
    inner join perpetuals on perpetuals.instrument = settlements.instrument
    left join perpetuals_ohlcv_1d_settlement as bars
        on bars.instrument = settlements.instrument
        and bars.timestamp = (settlements.settlement_day - 1)::timestamp at time zone 'utc' + interval '8 hours'
        and bars.timestamp >= '2025-09-28 08:00+00'
        and bars.timestamp < '2025-10-02 08:00+00'

)

select * from final
order by settlement_day;
