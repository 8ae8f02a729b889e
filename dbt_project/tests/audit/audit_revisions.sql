{#- ohlcv_revisions has exactly the revisions in all raw candles. -#}
with loads as (

    select load_id from {{ ref('stg_loads') }}
    where load_number <= {{ read_to('ohlcv_revisions') | indent(8) }}

),

spans as (

    {{ audit_spans() }}

),

-- from the first to the last candle of a month that two loads have
repeated as (

    select
        min(candles.timestamp) as first_at,
        max(candles.timestamp) as last_at
    from spans
    cross join lateral (
        select
            timestamp,
            instrument
        from {{ ref('stg_candles') }}
        where timestamp >= spans.opens_at
            and timestamp < spans.closes_at
            and {{ hashed_in('load_id', 'loads', 'load_id') }}
        group by 1, 2
        having count(*) > 1
    ) as candles
    group by spans.opens_at

),

versions as (

    select distinct on (candles.timestamp, candles.instrument, candles.load_id::numeric) candles.*
    from repeated
    cross join lateral (
        select * from {{ ref('stg_candles') }}
        where timestamp between repeated.first_at and repeated.last_at
            and {{ hashed_in('load_id', 'loads', 'load_id') }}
        offset 0
    ) as candles
    order by {{ newest_first(['candles.timestamp', 'candles.instrument']) | indent(4) }}

),

compared as (

    select
        *,
        (open, high, low, close, volume) as new_values,
        lag((open, high, low, close, volume)) over by_load as old_values
    from versions
    window by_load as (partition by timestamp, instrument order by load_id::numeric)

),

recomputed as (

    select * from compared
    where old_values is not null
        and old_values is distinct from new_values

),

revisions as (

    select
        *,
        (old_open, old_high, old_low, old_close, old_volume) as old_values,
        (new_open, new_high, new_low, new_close, new_volume) as new_values
    from {{ ref('ohlcv_revisions') }}

),

final as (

    select
        coalesce(revisions.timestamp, recomputed.timestamp) as timestamp,
        coalesce(revisions.instrument, recomputed.instrument) as instrument,
        coalesce(revisions.load_id, recomputed.load_id) as load_id,
        revisions.load_id is not null as listed
    from revisions
    full join recomputed
        on recomputed.timestamp = revisions.timestamp
        and recomputed.instrument = revisions.instrument
        and recomputed.load_id = revisions.load_id
    where revisions.load_id is null
        or recomputed.load_id is null
        or (
            recomputed.load_id is not null
            and (revisions.old_values, revisions.new_values) is distinct from (recomputed.old_values, recomputed.new_values)
        )

)

select * from final
