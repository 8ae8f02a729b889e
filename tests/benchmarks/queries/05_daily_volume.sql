-- daily volume of every instrument over all history
select
    instrument,
    time_bucket('1 day', timestamp) as day,
    sum(volume) as volume
from perpetuals_ohlcv
group by 1, 2
order by 1, 2
