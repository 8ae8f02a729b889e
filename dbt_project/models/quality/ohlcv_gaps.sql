{%- set bucket = "interval '" ~ bucket_minutes() ~ " minutes'" %}
with runs as (

    select * from {{ ref('ohlcv_missing') }}

),

-- without fetches that have a candle for each bucket, which are nearly all: they cannot explain a gap
fetches as (

    select
        instrument,
        window_start,
        window_end,
        max(fetched_at) as fetched_at
    from {{ ref('stg_fetches') }}
    where resolution = '{{ base_resolution() }}'
        and rows * {{ bucket }} < window_end - window_start
        -- loads that the days have not read yet may have the missing candles
        and load_number <= {{ read_to('ohlcv_candle_days') | indent(8) }}
    group by 1, 2, 3

),

rejected as (

    select
        instrument,
        {{ bucket_open('timestamp') }} as opens_at
    from {{ ref('rejected_candles') }}
    where resolution = '{{ base_resolution() }}'

),

fetches_of_runs as (

    select
        runs.instrument,
        runs.missing,
        fetches.window_start,
        fetches.window_end,
        fetches.fetched_at
    from runs
    inner join fetches
        on fetches.instrument = runs.instrument
        and fetches.window_start < upper(runs.missing)
        and fetches.window_end > lower(runs.missing)

),

edges as (

    select
        fetches_of_runs.instrument,
        fetches_of_runs.missing,
        edge.at,
        sum(edge.step) as step
    from fetches_of_runs
    cross join lateral (values (fetches_of_runs.window_start, 1), (fetches_of_runs.window_end, -1)) as edge (at, step)
    group by 1, 2, 3

),

pieces as (

    select
        instrument,
        missing,
        at as starts_at,
        lead(at) over by_time as ends_at,
        sum(step) over by_time as fetches
    from edges
    window by_time as (partition by instrument, missing order by at)

),

fetched_twice as (

    select
        instrument,
        missing,
        range_agg(tstzrange(starts_at, ends_at)) as fetched
    from pieces
    where fetches >= 2
    group by 1, 2

),

last_fetches as (

    select
        instrument,
        missing,
        max(fetched_at) as last_fetched_at
    from fetches_of_runs
    group by 1, 2

),

unusable as (

    select
        runs.instrument,
        runs.missing,
        range_agg(tstzrange(rejected.opens_at, rejected.opens_at + {{ bucket }})) as rejected
    from runs
    inner join rejected
        on rejected.instrument = runs.instrument
        and runs.missing @> rejected.opens_at
    group by 1, 2

),

final as (

    select
        runs.instrument,
        lower(runs.missing) - {{ bucket }} as gap_start,
        upper(runs.missing) as gap_end,
        (extract(epoch from upper(runs.missing) - lower(runs.missing)) / 60)::integer as gap_minutes,
        case
            when runs.is_known then 'known'
            when not (
                coalesce(fetched_twice.fetched, '{}'::tstzmultirange) + coalesce(unusable.rejected, '{}'::tstzmultirange)
            ) @> runs.missing then 'unfetched'
            when unusable.instrument is not null then 'rejected'
            else 'source'
        end as reason,
        runs.note,
        last_fetches.last_fetched_at
    from runs
    left join fetched_twice
        on fetched_twice.instrument = runs.instrument
        and fetched_twice.missing = runs.missing
    left join unusable
        on unusable.instrument = runs.instrument
        and unusable.missing = runs.missing
    left join last_fetches
        on last_fetches.instrument = runs.instrument
        and last_fetches.missing = runs.missing

)

select * from final
