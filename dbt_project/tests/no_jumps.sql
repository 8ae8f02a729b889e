{{ config(severity='warn') }}

with jumps as (

    select * from {{ ref('ohlcv_jumps') }}

),

moves as (

    select * from {{ ref('ohlcv_moves') }}

),

final as (

    select * from jumps
    where timestamp >= (select max(day) - 6 from moves)

)

select * from final
