{{
    config(
        materialized='hypertable',
        meta={
            'reads': 'funding',
            'grain_minutes': 60,
            'rows_a_day': 24,
            'chunk_interval': '420 days',
            'columnstore_chunk_interval': '84 days',
            'columnstore': true,
            'index': 'idx_perpetuals_funding_instrument'
        }
    )
}}

with funding as (

    select * from {{ ref('stg_funding') }}
    where {{ in_range() }}
        and {{ funding_rejection() | indent(8) }} is null

),

final as (

    select distinct on (timestamp, instrument)
        timestamp,
        instrument,
        interest_1h,
        interest_8h,
        index_price,
        prev_index_price
    from funding
    -- a load holds one version of an hour; should it hold two, the values make the choice deterministic
    order by
        timestamp,
        instrument,
        load_id::numeric desc,
        interest_1h,
        interest_8h,
        index_price,
        prev_index_price

)

select * from final
