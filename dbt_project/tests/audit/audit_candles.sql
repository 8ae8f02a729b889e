with consumed_loads as (

    select load_id from {{ source('quality', 'consumed_loads') }}
    where model = 'perpetuals_ohlcv'
        and claimed_by is not null

),

spans as (

    {{ audit_spans() }}

),

compared as (

    select differences.*
    from spans
    cross join lateral (
        select
            coalesce(candles.timestamp, recomputed.timestamp) as timestamp,
            coalesce(candles.instrument, recomputed.instrument) as instrument,
            case
                when candles.timestamp is null then 'in raw only'
                when recomputed.timestamp is null then 'in the table only'
                else 'different'
            end as problem
        from (
            select * from {{ ref('perpetuals_ohlcv') }}
            where timestamp >= spans.opens_at
                and timestamp < spans.closes_at
        ) as candles
        full join (
            select distinct on (timestamp, instrument) *
            from {{ ref('stg_candles') }}
            where timestamp >= spans.opens_at
                and timestamp < spans.closes_at
                and {{ hashed_in('load_id', 'consumed_loads', 'load_id') }}
            order by {{ newest_first(['timestamp', 'instrument']) | indent(12) }}
        ) as recomputed
            on recomputed.timestamp = candles.timestamp
            and recomputed.instrument = candles.instrument
        where (candles.open, candles.high, candles.low, candles.close, candles.volume)
            is distinct from
            (recomputed.open, recomputed.high, recomputed.low, recomputed.close, recomputed.volume)
    ) as differences

),

final as (

    select * from compared
    -- in raw is only what came after a drop
    where problem <> 'in the table only'
        or not {{ is_dropped(none, 'compared.timestamp') }}

    union all

    select null, null, 'no rows'
    where not exists (select from {{ ref('perpetuals_ohlcv') }})

)

select * from final
