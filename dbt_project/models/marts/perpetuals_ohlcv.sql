{{
    config(
        materialized='hypertable',
        meta={
            'chunk_interval': var('chunk_interval'),
            'columnstore_chunk_interval': var('columnstore_chunk_interval'),
            'columnstore': true,
            'index': 'idx_perpetuals_instrument'
        }
    )
}}

with candles as (

    select * from {{ ref('stg_candles') }}
    where {{ in_range() }}

),

-- sorted like the second index, which halves the time to create that index
final as (

    select distinct on ({{ index_order() }}, instrument, timestamp)
        timestamp,
        instrument,
        open,
        high,
        low,
        close,
        volume
    from candles
    order by
        {{ index_order() }},
        {{ newest_first(['instrument', 'timestamp']) | indent(8) }}

)

select * from final
