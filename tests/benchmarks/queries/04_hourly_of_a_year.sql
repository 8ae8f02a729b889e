-- hourly OHLCV of one instrument and year
select
    time_bucket('1 hour', timestamp) as hour,
    first(open, timestamp) as open,
    max(high) as high,
    min(low) as low,
    last(close, timestamp) as close,
    sum(volume) as volume
from perpetuals_ohlcv
where
    instrument = 'BTC-PERPETUAL'
    and timestamp >= '2024-01-01 00:00:00+00'
    and timestamp < '2025-01-01 00:00:00+00'
group by 1
order by 1
