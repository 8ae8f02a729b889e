-- Coverage of each instrument and month: candles as a percentage of those expected since the first candle. Reads quality.ohlcv_days.
select
    instrument,
    date_trunc('month', day::timestamp)::date as month,
    sum(candles) as candles,
    sum(expected) as expected,
    trunc(100.0 * sum(candles) / sum(expected), 4) as coverage_percent,
    sum(fills) as fills
from quality.ohlcv_days
where day >= '2025-09-01'
group by 1, 2
order by 1, 2;
