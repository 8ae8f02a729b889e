with instruments as (

    select * from {{ ref('stg_instruments') }}

),

details as (

    select
        instruments.instrument,
        instruments.load_number,
        instruments.seen_at,
        details.detail,
        details.value
    from instruments
    cross join
        lateral (
            values
            ('tick_size', instruments.tick_size),
            ('contract_size', instruments.contract_size),
            ('min_trade_amount', instruments.min_trade_amount)
        ) as details (detail, value)
    -- the last row of a delisted perpetual has only its end
    where details.value is not null

),

compared as (

    select
        instrument,
        detail,
        lag(value) over by_time as old_value,
        value as new_value,
        lag(seen_at) over by_time as old_seen_at,
        seen_at
    from details
    window by_time as (partition by instrument, detail order by load_number, seen_at)

),

final as (

    select
        instrument,
        detail,
        old_value,
        new_value,
        old_seen_at,
        seen_at
    from compared
    where old_value <> new_value

)

select * from final
