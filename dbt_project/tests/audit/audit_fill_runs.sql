{#- ohlcv_fill_runs has exactly the long runs of fills in perpetuals_ohlcv. -#}
with candles as (

    select
        instrument,
        timestamp,
        volume
    from {{ ref('perpetuals_ohlcv') }}

),

neighbours as (

    select
        *,
        lag(timestamp) over by_time as previous_timestamp,
        lag(volume) over by_time as previous_volume
    from candles
    window by_time as (partition by instrument order by timestamp)

),

fills as (

    select
        instrument,
        timestamp,
        count(*) filter (
            where previous_volume is distinct from 0
                or timestamp - previous_timestamp > interval '{{ bucket_minutes() }} minutes'
        ) over (partition by instrument order by timestamp) as run
    from neighbours
    where volume = 0

),

recomputed as (

    select
        instrument,
        min(timestamp) as run_start,
        max(timestamp) as run_end
    from fills
    group by instrument, run
    having max(timestamp) - min(timestamp)
        >= interval '{{ var('fill_run_minutes') | int - bucket_minutes() }} minutes'

),

fill_runs as (

    select * from {{ ref('ohlcv_fill_runs') }}

),

final as (

    select
        coalesce(fill_runs.instrument, recomputed.instrument) as instrument,
        coalesce(fill_runs.run_start, recomputed.run_start) as run_start,
        fill_runs.run_end,
        recomputed.run_end as run_end_recomputed
    from fill_runs
    full join recomputed
        on recomputed.instrument = fill_runs.instrument
        and recomputed.run_start = fill_runs.run_start
    where fill_runs.run_end is distinct from recomputed.run_end

)

select * from final
