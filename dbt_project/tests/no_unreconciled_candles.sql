{{ config(severity='warn') }}

with compared as (

    select * from {{ ref('ohlcv_reconciliation') }}

),

final as (

    select * from compared
    where status <> 'identical'
        and minutes = expected_minutes

)

select * from final
