with reconciliation as (

    select
        *,
        {{ resolution_minutes() }} * interval '1 minute' as step
    from {{ ref('ohlcv_reconciliation') }}

),

bars as (

    select * from {{ ref('exchange_bars') }}

),

recomputed as (

    select
        reconciliation.instrument,
        reconciliation.resolution,
        reconciliation.timestamp,
        count(candles.timestamp) as minutes,
        max(candles.high) as high,
        min(candles.low) as low,
        coalesce(sum(candles.volume), 0) as volume
    from reconciliation
    left join {{ ref('perpetuals_ohlcv') }} as candles
        on candles.instrument = reconciliation.instrument
        and candles.timestamp >= reconciliation.timestamp
        and candles.timestamp < reconciliation.timestamp + reconciliation.step
    group by 1, 2, 3

),

final as (

    select
        reconciliation.instrument,
        reconciliation.resolution,
        reconciliation.timestamp,
        reconciliation.status
    from reconciliation
    inner join recomputed
        on recomputed.instrument = reconciliation.instrument
        and recomputed.resolution = reconciliation.resolution
        and recomputed.timestamp = reconciliation.timestamp
    left join bars
        on bars.instrument = reconciliation.instrument
        and bars.resolution = reconciliation.resolution
        and bars.timestamp = reconciliation.timestamp
    where (reconciliation.minutes, reconciliation.high, reconciliation.low, coalesce(reconciliation.volume, 0))
        is distinct from
        (recomputed.minutes, recomputed.high, recomputed.low, recomputed.volume)
        or (reconciliation.exchange_open, reconciliation.exchange_high, reconciliation.exchange_low)
        is distinct from
        (bars.open, bars.high, bars.low)
        or (reconciliation.exchange_close, reconciliation.exchange_volume) is distinct from (bars.close, bars.volume)
        or reconciliation.status <> case
            when bars.timestamp is null then 'missing_at_deribit'
            when recomputed.minutes = 0 then 'missing_in_minutes'
            when reconciliation.differing_columns is null then 'identical'
            else 'different'
        end
        or (reconciliation.differing_columns ~ 'close') is distinct from (bars.close <> reconciliation.close)
            and reconciliation.status = 'different'

    union all

    select
        bars.instrument,
        bars.resolution,
        bars.timestamp,
        'not compared'
    from bars
    left join reconciliation
        on reconciliation.instrument = bars.instrument
        and reconciliation.resolution = bars.resolution
        and reconciliation.timestamp = bars.timestamp
    where reconciliation.timestamp is null
        and bars.resolution not in ('180', '360')

)

select * from final
