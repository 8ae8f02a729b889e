{#- ohlcv_moves equals the moves recomputed from every candle. -#}
with followed as (

    select
        *,
        {{ utc_day('timestamp') }} as day,
        lag(close, 1, open) over (partition by instrument, {{ utc_day('timestamp') }} order by timestamp) as previous_close
    from {{ ref('perpetuals_ohlcv') }}

),

moved as (

    select
        *,
        {{ move_percent('previous_close') | indent(8) }} as move
    from followed

),

recomputed as (

    select
        instrument,
        day,
        coalesce(percentile_cont(0.5) within group (order by move) filter (where move > 0), 0) as typical,
        coalesce(max(move), 0) as largest
    from moved
    group by instrument, day

),

moves as (

    select * from {{ ref('ohlcv_moves') }}

),

final as (

    select
        coalesce(moves.instrument, recomputed.instrument) as instrument,
        coalesce(moves.day, recomputed.day) as day,
        moves.largest,
        recomputed.largest as largest_recomputed
    from moves
    full join recomputed
        on recomputed.instrument = moves.instrument
        and recomputed.day = moves.day
    where (moves.typical, moves.largest) is distinct from (recomputed.typical, recomputed.largest)

)

select * from final
