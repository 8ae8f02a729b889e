{%- set bucket = "interval '" ~ bucket_minutes() ~ " minutes'" %}
with runs as (

    select * from {{ ref('ohlcv_missing') }}

),

-- without fetches that have a candle for each bucket, which are nearly all: they cannot explain a gap
answers as (

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

asked as (

    select
        runs.instrument,
        runs.missing,
        answers.window_start,
        answers.window_end,
        answers.fetched_at
    from runs
    inner join answers
        on answers.instrument = runs.instrument
        and answers.window_start < upper(runs.missing)
        and answers.window_end > lower(runs.missing)

),

edges as (

    select
        asked.instrument,
        asked.missing,
        edge.at,
        sum(edge.step) as step
    from asked
    cross join lateral (values (asked.window_start, 1), (asked.window_end, -1)) as edge (at, step)
    group by 1, 2, 3

),

answered as (

    select
        instrument,
        missing,
        at as starts_at,
        lead(at) over by_time as ends_at,
        sum(step) over by_time as answers
    from edges
    window by_time as (partition by instrument, missing order by at)

),

answered_twice as (

    select
        instrument,
        missing,
        range_agg(tstzrange(starts_at, ends_at)) as answered
    from answered
    where answers >= 2
    group by 1, 2

),

last_asked as (

    select
        instrument,
        missing,
        max(fetched_at) as last_asked
    from asked
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
                coalesce(answered_twice.answered, '{}'::tstzmultirange) + coalesce(unusable.rejected, '{}'::tstzmultirange)
            ) @> runs.missing then 'unfetched'
            when unusable.instrument is not null then 'rejected'
            else 'source'
        end as reason,
        runs.note,
        last_asked.last_asked
    from runs
    left join answered_twice
        on answered_twice.instrument = runs.instrument
        and answered_twice.missing = runs.missing
    left join unusable
        on unusable.instrument = runs.instrument
        and unusable.missing = runs.missing
    left join last_asked
        on last_asked.instrument = runs.instrument
        and last_asked.missing = runs.missing

)

select * from final
