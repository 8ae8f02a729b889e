-- depends_on: {{ ref('perpetuals_ohlcv') }}
{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['timestamp', 'instrument', 'resolution', 'load_id'],
        on_schema_change='fail',
        full_refresh=false,
        pre_hook="{{ claim_loads_after('perpetuals_ohlcv') }}"
    )
}}

with claimed_loads as (

    {{ claimed_loads('rejected_candles') }}

),

claimed_rejected as (

    select distinct load_id
    from ({{ loaded_days('claimed_loads') }}) as loaded
    where rejected > 0

),

loads as (

    select
        load_id,
        max(inserted_at) as loaded_at
    from {{ source('deribit_raw', '_dlt_loads') }}
    where status = 0
    group by load_id

),

candles as (

    select
        *,
        {{ rejection_reason() }} as reason
    from {{ source('deribit_raw', 'candles') }}
    where resolution = '{{ base_resolution() }}'
        and {{ in_loads('_dlt_load_id', 'claimed_rejected', few=true) }}

),

final as (

    select distinct on (candles.timestamp, candles.instrument, candles.resolution, loads.load_id)
        candles.instrument::text as instrument,
        candles.resolution::text as resolution,
        candles.timestamp,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        candles.cost,
        candles.reason,
        loads.load_id::text as load_id,
        loads.loaded_at
    from candles
    inner join loads on loads.load_id = candles._dlt_load_id
    where candles.reason is not null
    order by
        candles.timestamp,
        candles.instrument,
        candles.resolution,
        loads.load_id,
        candles.reason,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.volume,
        candles.cost

)

select * from final
