-- Correlation of the hourly log returns of two instruments for each day. Hours that are missing for one of them are left out.
with closes as (

    select
        time_bucket('1 hour', timestamp) as hour,
        last(close, timestamp) filter (where instrument = 'BTC-PERPETUAL')::double precision as btc,
        last(close, timestamp) filter (where instrument = 'ETH-PERPETUAL')::double precision as eth
    from perpetuals_ohlcv
    where
        instrument in ('BTC-PERPETUAL', 'ETH-PERPETUAL')
        and timestamp >= '2025-09-29 00:00+00'
        and timestamp < '2025-10-02 00:00+00'
    group by 1

),

returns as (

    select
        hour,
        ln(btc / lag(btc) over (order by hour)) as btc,
        ln(eth / lag(eth) over (order by hour)) as eth
    from closes
    where btc is not null and eth is not null

),

final as (

    select
        (hour at time zone 'utc')::date as day,
        count(*) filter (where btc is not null) as returns,
        round(corr(btc, eth)::numeric, 4) as correlation
    from returns
    group by 1

)

select * from final
order by day;
