-- The latest candle of every instrument. Each instrument's index is read from its end; `distinct on` would read everything.
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
