-- gaps of one instrument over all history, by comparing neighbours
select previous, timestamp
from (
    select timestamp, lag(timestamp) over (order by timestamp) as previous
    from perpetuals_ohlcv
    where instrument = 'BTC-PERPETUAL'
) as neighbours
where timestamp - previous > interval '1 minute'
order by 1
