-- Deribit's own days open at 08:00 UTC, when it settles. `complete` says whether every minute of the day is there.
select
    time_bucket('1 day', timestamp, "offset" => interval '8 hours') as opens_at,
    first(open, timestamp) as open,
    max(high) as high,
    min(low) as low,
    last(close, timestamp) as close,
    sum(volume) as volume,
    count(*) = 1440 as complete
from perpetuals_ohlcv
where
    instrument = 'BTC-PERPETUAL'
    and timestamp >= '2025-09-29 08:00+00'
    and timestamp < '2025-10-02 08:00+00'
group by 1
order by 1;
