-- Hourly bars of one instrument and day. With a literal time range, only the chunks of that range are opened.
select
    time_bucket('1 hour', timestamp) as hour,
    first(open, timestamp) as open,
    max(high) as high,
    min(low) as low,
    last(close, timestamp) as close,
    sum(volume) as volume,
    count(*) as candles
from perpetuals_ohlcv
where
    instrument = 'BTC-PERPETUAL'
    and timestamp >= '2025-10-01 00:00+00'
    and timestamp < '2025-10-02 00:00+00'
group by 1
order by 1;
