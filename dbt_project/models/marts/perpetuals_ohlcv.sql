{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['timestamp', 'instrument'],
        on_schema_change='fail',
        full_refresh=false,
        meta={'hypertable': {
            'time_column': 'timestamp',
            'chunk_interval': var('chunk_interval'),
            'columnstore_chunk_interval': var('columnstore_chunk_interval'),
            'segment_by': ['instrument'],
            'order_by': ['"timestamp"']
        }},
        pre_hook=['{{ expect_hypertable() }}', '{{ claim_loads() }}', "set local work_mem = '64MB'"],
        post_hook=[
            "{{ create_index_once('idx_perpetuals_instrument', 'instrument, timestamp desc') }}",
            '{{ reconcile_hypertable() }}'
        ]
    )
}}

with claimed_loads as (

    {{ claimed_loads('perpetuals_ohlcv') }}

),

candles as (

    select * from {{ ref('stg_candles') }}
    where {{ in_loads('load_id', 'claimed_loads') }}

),

instruments as (

    select array_agg(distinct instrument order by instrument) as names
    from ({{ loaded_days('claimed_loads') }}) as loaded

),

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
