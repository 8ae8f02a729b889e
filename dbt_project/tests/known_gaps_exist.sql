with entries as (

    select * from {{ ref('known_gaps') }}

),

known as (

    select
        *,
        {{ endpoint_of('entries') }} as of_endpoint
    from entries
    -- those of funding and settlements: known_rows_exist
    where {{ endpoint_of('entries') }} not in ('funding', 'settlements')

),

gaps as (

    select
        'candles' as endpoint,
        *
    from {{ ref('ohlcv_gaps') }}

),

rejected as (

    select
        'candles' as endpoint,
        *
    from {{ ref('rejected_candles') }}

),

{{ problems_of_entries() }},

final as (

    select * from problems

)

select * from final
