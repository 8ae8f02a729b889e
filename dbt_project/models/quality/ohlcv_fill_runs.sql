with days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

merged as (

    select
        instrument,
        unnest(range_agg(fill_runs)) as run
    from days
    where not isempty(fill_runs)
    group by instrument

),

final as (

    select
        instrument,
        lower(run) as run_start,
        upper(run) - interval '{{ bucket_minutes() }} minutes' as run_end,
        (extract(epoch from upper(run) - lower(run)) / 60)::integer as minutes
    from merged
    where upper(run) - lower(run) >= interval '{{ var('fill_run_minutes') | int }} minutes'

)

select * from final
