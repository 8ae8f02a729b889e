{{ config(materialized='hypertable', meta={'time_column': 'day', 'grain_minutes': 1440}) }}

with candles as (

    select
        *,
        {{ utc_day('timestamp') }} as day
    from {{ ref('perpetuals_ohlcv') }}
    where {{ in_range() }}

),

-- each day is computed on its own, so its first candle is measured from its own open
followed as (

    select
        *,
        lag(close, 1, open) over (partition by instrument, day order by timestamp) as previous_close
    from candles

),

moved as (

    select
        instrument,
        day,
        {{ move_percent('previous_close') | indent(8) }} as move
    from followed
    -- offset 0 makes PostgreSQL compute the move once for both aggregates
    offset 0

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
