{#- ohlcv_gaps has exactly the gaps between neighbouring candles of perpetuals_ohlcv. -#}
with recomputed as (

    {{ gaps_sql(ref('perpetuals_ohlcv')) }}

),

gaps as (

    select * from {{ ref('ohlcv_gaps') }}

),

final as (

    select
        coalesce(gaps.instrument, recomputed.instrument) as instrument,
        coalesce(gaps.gap_start, recomputed.gap_start) as gap_start,
        gaps.gap_end,
        recomputed.gap_end as gap_end_recomputed
    from gaps
    full join recomputed
        on recomputed.instrument = gaps.instrument
        and recomputed.gap_start = gaps.gap_start
    where (gaps.gap_end, gaps.gap_minutes) is distinct from (recomputed.gap_end, recomputed.gap_minutes)

)

select * from final
