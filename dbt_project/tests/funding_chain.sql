{{ config(severity='warn') }}

{%- set spans = checked_spans(ref('perpetuals_funding')) %}

with funding as (

    {{ funding_in(spans) }}

),

gaps as (

    select * from {{ ref('funding_gaps') }}
    where reason in ('source', 'known')

),

chained as (

    select
        *,
        lag(timestamp) over by_time as previous,
        lag(index_price) over by_time as expected_price
    from funding
    window by_time as (partition by span, instrument order by timestamp)

),

final as (

    select
        chained.instrument,
        chained.timestamp,
        chained.prev_index_price,
        chained.previous,
        chained.expected_price
    from chained
    left join gaps
        on gaps.instrument = chained.instrument
        and gaps.gap_end = chained.timestamp
    where chained.is_checked
        -- across a gap of the source the chain holds; across another one it cannot be told
        and (chained.timestamp = chained.previous + interval '1 hour' or gaps.gap_start = chained.previous)
        and chained.prev_index_price is distinct from chained.expected_price

)

select * from final
