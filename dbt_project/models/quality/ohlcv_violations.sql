with final as (

    {{ violations_sql(ref('perpetuals_ohlcv')) }}

)

select * from final
