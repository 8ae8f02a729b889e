-- Carry of each UTC day: what short perpetual and long coin earned, in percent of the position, as funding and as a fall of the basis. The
-- basis is how far the last price of an hour is above the index at its end. Hours without a candle, or after one, are left out; `hours`
-- is 24 for a complete day.
with hours as (

    select
        funding.timestamp,
        funding.interest_1h,
        bars.close::double precision / funding.index_price - 1 as basis
    from perpetuals_funding as funding
    -- an hour of funding is named by its end, a candle by its open
    inner join perpetuals_ohlcv_1h as bars
        on bars.instrument = funding.instrument
        and bars.timestamp = funding.timestamp - interval '1 hour'
    where
        funding.instrument = 'BTC-PERPETUAL'
        and funding.timestamp >= '2025-09-30 00:00+00'
        and funding.timestamp <= '2025-10-02 00:00+00'
        and bars.timestamp >= '2025-09-29 23:00+00'
        and bars.timestamp < '2025-10-02 00:00+00'

),

changes as (

    select
        ((timestamp - interval '1 hour') at time zone 'utc')::date as day,
        interest_1h,
        basis,
        basis - lag(basis) over by_time as basis_change,
        timestamp - lag(timestamp) over by_time = interval '1 hour' as follows
    from hours
    window by_time as (order by timestamp)

),

final as (

    select
        day,
        count(*) as hours,
        100 * avg(basis) as basis_percent,
        100 * sum(interest_1h) as funding_percent,
        -100 * sum(basis_change) as fall_percent,
        100 * sum(interest_1h - basis_change) as carry_percent
    from changes
    where follows
    group by day

)

select * from final
order by day;
