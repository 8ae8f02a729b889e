-- the last candle of every instrument
select latest.*
from (select distinct instrument from deribit_raw.instruments) as listed
cross join lateral (
    select *
    from perpetuals_ohlcv
    where perpetuals_ohlcv.instrument = listed.instrument
    order by timestamp desc
    limit 1
) as latest
