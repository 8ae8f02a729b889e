with moves as (

    select * from {{ ref('ohlcv_moves') }}

),

candle_days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

around as (

    select
        moves.instrument,
        moves.day,
        moves.largest,
        candle_days.open,
        lag(candle_days.close, 1, candle_days.open) over by_day as previous_close,
        greatest(
            avg(moves.typical) over (by_day rows between 7 preceding and 7 following exclude current row),
            -- with only a few candles, a single spike would be the median
            case when candle_days.candles >= 24 then moves.typical end
        ) as typical_around
    from moves
    inner join candle_days
        on candle_days.instrument = moves.instrument
        and candle_days.day = moves.day
    window by_day as (partition by moves.instrument order by moves.day)

),

limits as (

    select
        *,
        greatest({{ var('jump_factor') }} * typical_around, {{ var('jump_floor_percent') }}) as move_limit
    from around

),

-- the first candle of a day may also have moved from the last close of the day before
odd_days as (

    select * from limits
    where (100 + largest) * case when least(open, previous_close) > 0 then greatest(open / previous_close, previous_close / open) else 1 end
        > 100 + move_limit

),

candles as (

    select
        candles.*,
        odd_days.day,
        odd_days.typical_around,
        odd_days.move_limit,
        lag(candles.close, 1, odd_days.previous_close) over (
            partition by odd_days.instrument, odd_days.day order by candles.timestamp
        ) as previous_close
    from odd_days
    cross join lateral (
        select * from {{ ref('perpetuals_ohlcv') }}
        where instrument = odd_days.instrument
            and timestamp >= {{ day_open('odd_days.day') }}
            and timestamp < {{ day_open('(odd_days.day + 1)') }}
        -- keeps the plan a loop over days; a join would decompress every candle
        offset 0
    ) as candles

),

moved as (

    select
        *,
        {{ move_percent('previous_close') | indent(8) }} as move
    from candles

),

final as (

    select
        instrument,
        timestamp,
        previous_close,
        open,
        high,
        low,
        close,
        volume,
        round(move::numeric, 2) as move_percent,
        round(typical_around::numeric, 4) as typical_percent
    from moved
    where move > move_limit

)

select * from final
