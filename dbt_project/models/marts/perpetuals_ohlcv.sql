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
    where {{ hashed_in('load_id', 'claimed_loads', 'load_id') }}
    {% if is_incremental() -%}
        and load_id between (select min(load_id) from claimed_loads) and (select max(load_id) from claimed_loads)
    {%- endif %}

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
    order by
        timestamp,
        instrument,
        load_id::numeric desc,
        volume desc,
        high desc,
        low,
        close,
        open

)

select * from final
