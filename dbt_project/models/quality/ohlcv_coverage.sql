with final as (

    {{ coverage_sql(ref('perpetuals_ohlcv')) }}

)

select * from final
