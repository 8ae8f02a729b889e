with known as (

    select * from {{ ref('known_gaps') }}

),

gaps as (

    select * from {{ ref('ohlcv_gaps') }}

),

rejected as (

    select * from {{ ref('rejected_candles') }}

),

checked as (

    select
        *,
        case
            when num_nulls(nullif(trim(instrument), ''), gap_start, gap_end, nullif(trim(reason), ''), nullif(trim(evidence), '')) > 0
                then 'not filled in'
            when gap_end <= gap_start then 'ends before it starts'
            when not exists (
                    select from gaps
                    where gaps.instrument = known.instrument
                        and gaps.gap_start >= known.gap_start
                        and gaps.gap_end <= known.gap_end
                )
                -- a rejected candle before the first or after the last candle lies in no gap
                and not exists (
                    select from rejected
                    where rejected.instrument = known.instrument
                        and rejected.timestamp > known.gap_start
                        and rejected.timestamp < known.gap_end
                )
                then 'no such gap'
        end as problem
    from known

),

final as (

    select * from checked
    where problem is not null

)

select * from final
