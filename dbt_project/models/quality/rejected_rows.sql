{{ config(materialized='hypertable', meta={'reads': 'rows', 'grain_minutes': 60, 'rows_a_day': 24}) }}

with funding as (

    select
        'funding' as endpoint,
        instrument,
        timestamp,
        interest_1h,
        interest_8h,
        index_price,
        prev_index_price,
        null::double precision as open_interest,
        null::double precision as mark_price,
        null::double precision as profit_loss,
        null::double precision as session_profit_loss,
        {{ funding_rejection() | indent(8) }} as reason,
        load_id
    from {{ ref('stg_funding') }}
    where {{ in_range() }}

),

settlements as (

    select
        'settlements' as endpoint,
        instrument,
        settled_at as timestamp,
        null::double precision as interest_1h,
        null::double precision as interest_8h,
        index_price,
        null::double precision as prev_index_price,
        open_interest,
        mark_price,
        profit_loss,
        session_profit_loss,
        {{ settlement_rejection() | indent(8) }} as reason,
        load_id
    from {{ ref('stg_settlements') }}
    where {{ in_range('settled_at') }}

),

rows_of_both as (

    select * from funding
    where reason is not null

    union all

    select * from settlements
    where reason is not null

),

loads as (

    select * from {{ ref('stg_loads') }}

),

final as (

    select distinct on (timestamp, endpoint, instrument, load_id)
        endpoint,
        instrument,
        timestamp,
        interest_1h,
        interest_8h,
        index_price,
        prev_index_price,
        open_interest,
        mark_price,
        profit_loss,
        session_profit_loss,
        reason,
        load_id,
        -- looked up row by row, because there are few rejected rows but very many loads
        (
            select loads.loaded_at from loads
            where loads.load_number = rows_of_both.load_id::numeric
        ) as loaded_at
    from rows_of_both
    order by
        timestamp,
        endpoint,
        instrument,
        load_id,
        reason,
        interest_1h,
        interest_8h,
        index_price,
        prev_index_price,
        open_interest,
        mark_price,
        profit_loss,
        session_profit_loss

)

select * from final
