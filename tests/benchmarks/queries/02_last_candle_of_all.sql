-- the last candle of every instrument
select latest.*
from quality.ohlcv_coverage as known
cross join lateral (
    select *
    from perpetuals_ohlcv
    where perpetuals_ohlcv.instrument = known.instrument
    order by timestamp desc
    limit 1
) as latest
