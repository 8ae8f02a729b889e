-- the same from `quality.ohlcv_days`
select instrument, day, volume
from quality.ohlcv_days
order by 1, 2
