{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['instrument', 'resolution', 'timestamp'],
        on_schema_change='fail',
        full_refresh=false,
        pre_hook='{{ claim_loads() }}'
    )
}}

with claimed_loads as (

    {{ claimed_loads('exchange_bars') }}

),

claimed_bars as (

    select distinct load_id
    from {{ source('quality', 'loaded_days') }}
    where load_id in (select load_id from claimed_loads)
        and {{ resolution_minutes() }} > {{ bucket_minutes() }}

),

candles as (

    select
        *,
        _dlt_load_id as load_id
    from {{ source('deribit_raw', 'candles') }}
    where {{ resolution_minutes() }} > {{ bucket_minutes() }}
        and {{ in_loads('_dlt_load_id', 'claimed_bars', few=true) }}
        -- a day's volume of a small coin does not fit numeric(18,8); NaN sorts above every number
        and greatest(abs(open), abs(high), abs(low), abs(close)) < 1e10::double precision
        and abs(volume) < 1e30::double precision
        and num_nulls(open, high, low, close, volume) = 0

),

final as (

    select distinct on (instrument, resolution, timestamp)
        instrument::text as instrument,
        resolution::text as resolution,
        timestamp,
        {{ exact_numeric('open') }} as open,
        {{ exact_numeric('high') }} as high,
        {{ exact_numeric('low') }} as low,
        {{ exact_numeric('close') }} as close,
        volume::text::numeric(38, 8) as volume
    from candles
    order by {{ newest_first(['instrument', 'resolution', 'timestamp']) | indent(4) }}

)

select * from final
