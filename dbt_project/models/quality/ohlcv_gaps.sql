with final as (

    {{ gaps_sql(ref('perpetuals_ohlcv')) }}

)

select * from final
