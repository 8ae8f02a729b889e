-- the same with `lateral` and `limit 1`, without the quality models
select latest.*
from (values ('BTC-PERPETUAL'), ('ETH-PERPETUAL')) as listed (instrument)
cross join lateral (
    select *
    from perpetuals_ohlcv
    where perpetuals_ohlcv.instrument = listed.instrument
    order by timestamp desc
    limit 1
) as latest
