-- five-minute closes of BTC and ETH side by side, one month
with bars as (
    select
        time_bucket('5 minutes', timestamp) as bucket,
        instrument,
        last(close, timestamp) as close
    from perpetuals_ohlcv
    where
        instrument in ('BTC-PERPETUAL', 'ETH-PERPETUAL')
        and timestamp >= '2025-09-01 00:00:00+00'
        and timestamp < '2025-10-01 00:00:00+00'
    group by 1, 2
)

select btc.bucket, btc.close as btc, eth.close as eth, eth.close / btc.close as ratio
from bars as btc
inner join bars as eth on btc.bucket = eth.bucket
where btc.instrument = 'BTC-PERPETUAL' and eth.instrument = 'ETH-PERPETUAL'
order by 1
