-- Daily candles that open at 08:00 UTC, Deribit's settlement. `complete` is true if every minute of the day is present.
select
    timestamp as opens_at,
    open,
    high,
    low,
    close,
    volume,
    complete
from perpetuals_ohlcv_1d_settlement
where
    instrument = 'BTC-PERPETUAL'
    and timestamp >= '2025-09-29 08:00+00'
    and timestamp < '2025-10-02 08:00+00'
order by timestamp;
