{#- ohlcv_coverage equals the coverage recomputed from perpetuals_ohlcv. -#}
with recomputed as (

    {{ coverage_sql(ref('perpetuals_ohlcv')) }}

),

coverage as (

    select * from {{ ref('ohlcv_coverage') }}

),

final as (

    select
        coalesce(coverage.instrument, recomputed.instrument) as instrument,
        coverage.candles,
        recomputed.candles as candles_recomputed,
        coverage.expected,
        recomputed.expected as expected_recomputed
    from coverage
    full join recomputed on recomputed.instrument = coverage.instrument
    where (coverage.candles, coverage.first_candle, coverage.last_candle, coverage.expected + coverage.known, coverage.missing + coverage.known)
        is distinct from
        (recomputed.candles, recomputed.first_candle, recomputed.last_candle, recomputed.expected, recomputed.missing)

)

select * from final
