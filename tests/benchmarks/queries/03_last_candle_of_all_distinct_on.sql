-- the same with `distinct on`, which reads everything
select distinct on (instrument) *
from perpetuals_ohlcv
order by instrument, timestamp desc
