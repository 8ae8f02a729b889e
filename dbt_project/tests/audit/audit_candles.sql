with consumed_loads as (

    select load_id from {{ source('quality', 'consumed_loads') }}
    where model = 'perpetuals_ohlcv'
        and claimed_by is not null

),

raw_candles as (

    select * from {{ ref('stg_candles') }}
    where {{ hashed_in('load_id', 'consumed_loads', 'load_id') }}

),

recomputed as (

    select distinct on (timestamp, instrument) *
    from raw_candles
    order by {{ newest_first(['timestamp', 'instrument']) | indent(4) }}

),

candles as (

    select * from {{ ref('perpetuals_ohlcv') }}

),

final as (

    select
        coalesce(candles.timestamp, recomputed.timestamp) as timestamp,
        coalesce(candles.instrument, recomputed.instrument) as instrument,
        case
            when candles.timestamp is null then 'in raw only'
            when recomputed.timestamp is null then 'in the table only'
            else 'different'
        end as problem
    from candles
    full join recomputed
        on recomputed.timestamp = candles.timestamp
        and recomputed.instrument = candles.instrument
    where (candles.open, candles.high, candles.low, candles.close, candles.volume)
        is distinct from
        (recomputed.open, recomputed.high, recomputed.low, recomputed.close, recomputed.volume)

    union all

    select null, null, 'no rows'
    where not exists (select from candles)

)

select * from final
