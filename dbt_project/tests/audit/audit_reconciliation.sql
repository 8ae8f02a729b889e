{#- Every bucket of ohlcv_reconciliation equals the bucket recomputed from perpetuals_ohlcv and exchange_bars. -#}
with reconciliation as (

    select
        *,
        {{ resolution_minutes() }} * interval '1 minute' as step
    from {{ ref('ohlcv_reconciliation') }}

),

bars as (

    select * from {{ ref('exchange_bars') }}

),

resolutions as (

    select
        resolution,
        step,
        case when step < interval '720 minutes' then timestamptz '1970-01-01 00:00+00' else timestamptz '1970-01-01 08:00+00' end as anchor,
        min(timestamp) as first_bucket,
        max(timestamp) + step as ends_at
    from reconciliation
    group by 1, 2

),

-- adds the candles up once for each resolution: a join to each bucket would read them once for each bucket
recomputed as (

    select
        candles.instrument,
        resolutions.resolution,
        date_bin(resolutions.step, candles.timestamp, resolutions.anchor) as timestamp,
        count(*) as minutes,
        max(candles.high) as high,
        min(candles.low) as low,
        sum(candles.volume) as volume
    from {{ ref('perpetuals_ohlcv') }} as candles
    inner join resolutions
        on resolutions.first_bucket <= candles.timestamp
        and resolutions.ends_at > candles.timestamp
    where candles.timestamp >= (select min(first_bucket) from resolutions)
        and candles.timestamp < (select max(ends_at) from resolutions)
    group by 1, 2, 3

),

final as (

    select
        reconciliation.instrument,
        reconciliation.resolution,
        reconciliation.timestamp,
        reconciliation.status
    from reconciliation
    left join recomputed
        on recomputed.instrument = reconciliation.instrument
        and recomputed.resolution = reconciliation.resolution
        and recomputed.timestamp = reconciliation.timestamp
    left join bars
        on bars.instrument = reconciliation.instrument
        and bars.resolution = reconciliation.resolution
        and bars.timestamp = reconciliation.timestamp
    -- a high or a low may have digits that perpetuals_ohlcv cannot hold
    where (reconciliation.minutes, round(reconciliation.high, 8), round(reconciliation.low, 8), coalesce(reconciliation.volume, 0))
        is distinct from
        (coalesce(recomputed.minutes, 0), recomputed.high, recomputed.low, coalesce(recomputed.volume, 0))
        or (reconciliation.exchange_open, reconciliation.exchange_high, reconciliation.exchange_low)
        is distinct from
        (bars.open, bars.high, bars.low)
        or (reconciliation.exchange_close, reconciliation.exchange_volume) is distinct from (bars.close, bars.volume)
        or reconciliation.status <> case
            when bars.timestamp is null then 'missing_at_deribit'
            when recomputed.minutes is null then 'missing_in_minutes'
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
