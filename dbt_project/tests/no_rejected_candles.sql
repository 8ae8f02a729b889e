-- depends_on: {{ ref('ohlcv_gaps') }}
with rejected as (

    select * from {{ ref('rejected_candles') }}

),

candles as (

    select * from {{ ref('perpetuals_ohlcv') }}

),

final as (

    select rejected.*
    from rejected
    left join candles
        on candles.instrument = rejected.instrument
        and candles.timestamp <= rejected.timestamp
        and candles.timestamp > rejected.timestamp - interval '{{ bucket_minutes() }} minutes'
    where candles.timestamp is null

)

select * from final
