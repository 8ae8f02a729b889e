-- Realised volatility of each day from five-minute log returns, as an annualised percentage. Perpetuals trade on 365 days a year.
with closes as (

    select
        time_bucket('5 minutes', timestamp) as bucket,
        last(close, timestamp)::double precision as close
    from perpetuals_ohlcv
    where
        instrument = 'BTC-PERPETUAL'
        and timestamp >= '2025-09-29 00:00+00'
        and timestamp < '2025-10-02 00:00+00'
    group by 1

),

returns as (

    select
        bucket,
        ln(close / lag(close) over (order by bucket)) as log_return
    from closes

),

final as (

    select
        (bucket at time zone 'utc')::date as day,
        count(log_return) as returns,
        round((100 * sqrt(365 * sum(log_return ^ 2)))::numeric, 2) as volatility_percent
    from returns
    group by 1

)

select * from final
order by day;
