-- depends_on: {{ ref('ohlcv_gaps') }}
with rejected as (

    select * from {{ ref('rejected_candles') }}

),

candles as (

    select * from {{ ref('perpetuals_ohlcv') }}

),

known as (

    select * from {{ ref('known_gaps') }}

),

final as (

    select rejected.*
    from rejected
    left join candles
        on candles.instrument = rejected.instrument
        and candles.timestamp <= rejected.timestamp
        and candles.timestamp > rejected.timestamp - interval '{{ bucket_minutes() }} minutes'
    where candles.timestamp is null
        and not exists (
            select from known
            where known.instrument = rejected.instrument
                and {{ endpoint_of('known') }} = 'candles'
                and rejected.timestamp > known.gap_start
                and rejected.timestamp < known.gap_end
        )

)

select * from final
