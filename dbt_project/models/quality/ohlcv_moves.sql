{{ config(materialized='hypertable', meta={'time_column': 'day', 'grain_minutes': 1440}) }}

with candles as (

    select
        *,
        {{ utc_day('timestamp') }} as day
    from {{ ref('perpetuals_ohlcv') }}
    where {{ in_range() }}

),

-- each day is computed on its own, so its first candle is measured from its own open; grouped in the window's order, without a sort
moved as (

    select
        instrument,
        day,
        {{ move_percent('lag(close, 1, open) over in_day') | indent(8) }} as move
    from candles
    window in_day as (partition by instrument, day order by timestamp)

),

final as (

    select
        instrument,
        day,
        coalesce(percentile_cont(0.5) within group (order by move) filter (where move > 0), 0) as typical,
        coalesce(max(move), 0) as largest
    from moved
    group by instrument, day

)

select * from final
