{%- set bucket = "interval '" ~ bucket_minutes() ~ " minutes'" %}
with days as (

    select * from {{ ref('ohlcv_candle_days') }}

),

known_gaps as (

    select * from {{ ref('known_gaps') }}

),

-- runs inside a day, and runs from a day's last candle to the first candle of the next day that has one
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

known as (

    select
        merged.instrument,
        merged.missing,
        string_agg(known_gaps.reason, '; ' order by known_gaps.gap_start) as note
    from merged
    inner join known_gaps
        on known_gaps.instrument = merged.instrument
        and {{ endpoint_of('known_gaps') }} = 'candles'
        and known_gaps.gap_start <= lower(merged.missing) - {{ bucket }}
        and known_gaps.gap_end >= upper(merged.missing)
    group by 1, 2

),

final as (

    select
        merged.instrument,
        merged.missing,
        known.instrument is not null as is_known,
        known.note
    from merged
    left join known
        on known.instrument = merged.instrument
        and known.missing = merged.missing

)

select * from final
