-- the last candle of every instrument
select ohlcv.*
from quality.ohlcv_coverage as known
inner join perpetuals_ohlcv as ohlcv
    on known.instrument = ohlcv.instrument and known.last_candle = ohlcv.timestamp
