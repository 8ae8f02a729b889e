with days as (

    select
        instrument,
        day
    from {{ ref('ohlcv_days') }}
    where violations > 0

),

candles as (

    select candles.*
    from days
    inner join {{ ref('perpetuals_ohlcv') }} as candles
        on candles.instrument = days.instrument
        and candles.timestamp >= {{ day_open('days.day') }}
        and candles.timestamp < {{ day_open('(days.day + 1)') }}

),

final as (

    {{ violations_sql('candles') }}

)

select * from final
