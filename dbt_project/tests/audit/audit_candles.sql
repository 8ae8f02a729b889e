{#- perpetuals_ohlcv has exactly the newest usable version of every candle in the raw tables. -#}
with loads as (

    select load_id from {{ ref('stg_loads') }}
    where load_number <= {{ read_to('perpetuals_ohlcv') | indent(8) }}

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
                and {{ hashed_in('load_id', 'loads', 'load_id') }}
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
    -- the next build reads loads that completed during the last build
    where not exists (
        select from {{ ref('stg_fetches') }} as fetches
        where fetches.instrument = compared.instrument
            and fetches.window_start <= compared.timestamp
            and fetches.window_end > compared.timestamp
            and fetches.load_number > {{ read_to('perpetuals_ohlcv') | indent(16) }}
    )

    union all

    select null, null, 'no rows'
    where not exists (select from {{ ref('perpetuals_ohlcv') }})
        and {{ candles_wanted() }}

)

select * from final
