-- Volume-weighted average price of each hour, from the raw candles, which have `cost`. `volume` is in the base coin and `cost` in the
-- quote coin for both kinds of perpetual (USD for inverse ones, such as BTC-PERPETUAL; USDC for linear ones), so one formula serves
-- both. Block trades count, so a price outside [low, high] is not an error. The raw table keeps every version of a candle; the newest
-- load wins.
with versions as (

    select distinct on (timestamp)
        timestamp,
        volume,
        cost
    from staging.stg_candles
    where
        instrument = 'BTC-PERPETUAL'
        and timestamp >= '2025-10-01 00:00+00'
        and timestamp < '2025-10-02 00:00+00'
    order by timestamp, load_id::numeric desc

),

final as (

    select
        time_bucket('1 hour', timestamp) as hour,
        round((sum(cost) / nullif(sum(volume), 0)::double precision)::numeric, 2) as vwap,
        sum(volume) as volume,
        sum(cost)::numeric as cost
    from versions
    group by 1

)

select * from final
order by hour;
