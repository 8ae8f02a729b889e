-- the same for every instrument, with reasons, from `quality.ohlcv_gaps`
select instrument, gap_start, gap_end, gap_minutes, reason
from quality.ohlcv_gaps
order by 1, 2
