with funding as (

    select * from {{ ref('stg_funding') }}
    where {{ funding_rejection() | indent(8) }} is null

),

loads as (

    select * from {{ ref('stg_loads') }}

),

versions as (

    select distinct on (instrument, timestamp, load_id::numeric) *
    from funding
    order by
        instrument,
        timestamp,
        load_id::numeric,
        interest_1h,
        interest_8h,
        index_price,
        prev_index_price

),

compared as (

    select
        *,
        lag(load_id) over by_load as previous_load,
        lag(interest_1h) over by_load as old_interest_1h,
        lag(interest_8h) over by_load as old_interest_8h,
        lag(index_price) over by_load as old_index_price,
        lag(prev_index_price) over by_load as old_prev_index_price
    from versions
    window by_load as (partition by instrument, timestamp order by load_id::numeric)

),

final as (

    select
        compared.instrument,
        compared.timestamp,
        compared.old_interest_1h,
        compared.interest_1h as new_interest_1h,
        compared.old_interest_8h,
        compared.interest_8h as new_interest_8h,
        compared.old_index_price,
        compared.index_price as new_index_price,
        compared.old_prev_index_price,
        compared.prev_index_price as new_prev_index_price,
        compared.previous_load,
        compared.load_id,
        (select loads.loaded_at from loads where loads.load_number = compared.load_id::numeric) as revised_at
    from compared
    where compared.previous_load is not null
        and (compared.interest_1h, compared.interest_8h, compared.index_price, compared.prev_index_price)
        is distinct from
        (compared.old_interest_1h, compared.old_interest_8h, compared.old_index_price, compared.old_prev_index_price)

)

select * from final
