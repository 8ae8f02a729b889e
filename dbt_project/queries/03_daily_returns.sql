-- Daily returns of UTC days, from the daily candles in quality.ohlcv_days. An incomplete day has no return.
with days as (

    select
        instrument,
        day,
        close,
        candles = 1440 as complete,
        lag(close) over by_day as previous_close,
        lag(day) over by_day = day - 1 and lag(candles = 1440) over by_day as previous_complete
    from quality.ohlcv_days
    where
        instrument = 'BTC-PERPETUAL'
        and day >= '2025-09-01'
        and day < '2025-10-02'
    window by_day as (partition by instrument order by day)

),

final as (

    select
        day,
        close,
        round(100 * (close / previous_close - 1), 4) as return_percent
    from days
    where complete and previous_complete

)

select * from final
order by day;
