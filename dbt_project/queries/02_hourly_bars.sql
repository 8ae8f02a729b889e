-- Hourly candles of one instrument and day. `complete` is true if all sixty minutes are present.
select
    timestamp as hour,
    open,
    high,
    low,
    close,
    volume,
    candles,
    complete
from perpetuals_ohlcv_1h
where
    instrument = 'BTC-PERPETUAL'
    and timestamp >= '2025-10-01 00:00+00'
    and timestamp < '2025-10-02 00:00+00'
order by timestamp;
