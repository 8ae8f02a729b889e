-- The latest candle of every instrument. The query reads only the end of each instrument's index; `distinct on` would read all candles.
with final as (

    select latest.*
    from quality.ohlcv_coverage as known
    cross join lateral (
        select * from perpetuals_ohlcv as candles
        where candles.instrument = known.instrument
        order by candles.timestamp desc
        limit 1
    ) as latest

)

select * from final
order by instrument;
