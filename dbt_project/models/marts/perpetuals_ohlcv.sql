{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['timestamp', 'instrument'],
        on_schema_change='fail',
        full_refresh=false,
        meta={'hypertable': {'time_column': 'timestamp', 'chunk_interval': var('chunk_interval')}},
        pre_hook=['{{ expect_hypertable() }}', '{{ claim_loads() }}'],
        post_hook="{{ create_index_once('idx_perpetuals_instrument', 'instrument, timestamp desc') }}"
    )
}}

with claimed_loads as (

    {{ claimed_loads('perpetuals_ohlcv') }}

),

candles as (

    select * from {{ ref('stg_candles') }}
    where {{ in_claimed_loads('load_id') }}

),

final as (

    select distinct on (timestamp, instrument)
        timestamp,
        instrument,
        open,
        high,
        low,
        close,
        volume
    from candles
    order by {{ newest_first(['timestamp', 'instrument']) | indent(4) }}

)

select * from final
