{%- set bucket = "interval '" ~ bucket_minutes() ~ " minutes'" %}
with days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

known_gaps as (

    select * from {{ ref('known_gaps') }}

),

-- an answer with a candle for each bucket says nothing of a hole, and that is nearly every answer
answers as (

    select
        instrument,
        window_start,
        window_end,
        max(fetched_at) as fetched_at
    from {{ ref('stg_fetches') }}
    where resolution = '{{ base_resolution() }}'
        and rows * {{ bucket }} < window_end - window_start
        -- what the days have not read yet may bring the candles
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

-- inside of a day, and from a day's last candle to the first one of the next day that has any
merged as (

    select
        instrument,
        unnest(missing) as missing
    from days
    where not isempty(missing)

    union all

    select
        instrument,
        tstzrange(last_candle + {{ bucket }}, next_candle) as missing
    from (
        select
            instrument,
            last_candle,
            lead(first_candle) over (partition by instrument order by day) as next_candle
        from days
    ) as neighbours
    where next_candle > last_candle + {{ bucket }}

),

asked as (

    select
        merged.instrument,
        merged.missing,
        answers.window_start,
        answers.window_end,
        answers.fetched_at
    from merged
    inner join answers
        on answers.instrument = merged.instrument
        and answers.window_start < upper(merged.missing)
        and answers.window_end > lower(merged.missing)

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
        merged.instrument,
        merged.missing,
        range_agg(tstzrange(rejected.opens_at, rejected.opens_at + {{ bucket }})) as rejected
    from merged
    inner join rejected
        on rejected.instrument = merged.instrument
        and merged.missing @> rejected.opens_at
    group by 1, 2

),

known as (

    select
        merged.instrument,
        merged.missing,
        string_agg(known_gaps.reason, '; ' order by known_gaps.gap_start) as note
    from merged
    inner join known_gaps
        on known_gaps.instrument = merged.instrument
        and known_gaps.gap_start <= lower(merged.missing) - {{ bucket }}
        and known_gaps.gap_end >= upper(merged.missing)
    group by 1, 2

),

final as (

    select
        merged.instrument,
        lower(merged.missing) - {{ bucket }} as gap_start,
        upper(merged.missing) as gap_end,
        (extract(epoch from upper(merged.missing) - lower(merged.missing)) / 60)::integer as gap_minutes,
        case
            when known.instrument is not null then 'known'
            when not (
                coalesce(answered_twice.answered, '{}'::tstzmultirange) + coalesce(unusable.rejected, '{}'::tstzmultirange)
            ) @> merged.missing then 'unfetched'
            when unusable.instrument is not null then 'rejected'
            else 'source'
        end as reason,
        known.note,
        last_asked.last_asked
    from merged
    left join known
        on known.instrument = merged.instrument
        and known.missing = merged.missing
    left join answered_twice
        on answered_twice.instrument = merged.instrument
        and answered_twice.missing = merged.missing
    left join unusable
        on unusable.instrument = merged.instrument
        and unusable.missing = merged.missing
    left join last_asked
        on last_asked.instrument = merged.instrument
        and last_asked.missing = merged.missing

)

select * from final
