{{ config(materialized='hypertable') }}

with candles as (

    select * from {{ ref('stg_rejected_candles') }}
    where {{ in_range() }}

),

loads as (

    select * from {{ ref('stg_loads') }}

),

final as (

    select distinct on (candles.timestamp, candles.instrument, candles.resolution, candles.load_id)
        candles.instrument,
        candles.resolution,
        candles.timestamp,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        candles.cost,
        candles.reason,
        candles.load_id,
        -- looked up row by row, because there are few rejected candles but very many loads
        (
            select loads.loaded_at from loads
            where loads.load_number = candles.load_id::numeric
        ) as loaded_at
    from candles
    order by
        candles.timestamp,
        candles.instrument,
        candles.resolution,
        candles.load_id,
        candles.reason,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        candles.cost

)

select * from final
