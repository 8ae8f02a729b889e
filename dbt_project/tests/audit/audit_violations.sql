{#- ohlcv_violations has exactly the violations found by checking every candle of perpetuals_ohlcv. -#}
with recomputed as (

    {{ violations_sql(ref('perpetuals_ohlcv')) }}

),

violations as (

    select * from {{ ref('ohlcv_violations') }}

),

final as (

    select
        coalesce(violations.instrument, recomputed.instrument) as instrument,
        coalesce(violations.timestamp, recomputed.timestamp) as timestamp,
        coalesce(violations.rule, recomputed.rule) as rule,
        violations.rule is not null as listed
    from violations
    full join recomputed
        on recomputed.instrument = violations.instrument
        and recomputed.timestamp = violations.timestamp
        and recomputed.rule = violations.rule
    where violations.rule is null
        or recomputed.rule is null

)

select * from final
