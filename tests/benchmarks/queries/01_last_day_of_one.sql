-- the last day of one instrument
select timestamp, open, high, low, close, volume
from perpetuals_ohlcv
where
    instrument = 'BTC-PERPETUAL'
    and timestamp >= (select max(timestamp) - interval '1 day' from perpetuals_ohlcv)
order by timestamp
