-- depends_on: {{ ref('perpetuals_ohlcv') }}
{{
    config(
        materialized='incremental',
        incremental_strategy='upsert',
        unique_key=['instrument', 'timestamp', 'load_id'],
        on_schema_change='fail',
        full_refresh=false,
        pre_hook=["{{ claim_loads_after('perpetuals_ohlcv') }}", "{{ delete_claimed_rows('load_id') }}"]
    )
}}

with claimed_loads as (

    {{ claimed_loads('ohlcv_revisions') }}

),

consumed_loads as (

    select load_id from {{ source('quality', 'consumed_loads') }}
    where model = 'ohlcv_revisions'

),

loads as (

    select
        load_id,
        max(inserted_at) as loaded_at
    from {{ source('deribit_raw', '_dlt_loads') }}
    group by load_id

),

loaded as (

    {{ loaded_days('consumed_loads') }}

),

-- only where two loads overlap can one have changed what another had brought
spans as (

    select
        min(greatest(claimed.first_at, other.first_at)) as first_at,
        max(least(claimed.last_at, other.last_at)) as last_at
    from ({{ loaded_days('claimed_loads') }}) as claimed
    inner join loaded as other
        on other.instrument = claimed.instrument
        and other.day = claimed.day
        and other.load_id <> claimed.load_id
        and other.first_at <= claimed.last_at
        and other.last_at >= claimed.first_at
    group by {{ bucket_open('claimed.first_at', minutes=30 * 1440, anchor='00') }}

),

versions as (

    select distinct on (candles.instrument, candles.timestamp, candles.load_id::numeric)
        candles.*
    from spans
    cross join lateral (
        select * from {{ ref('stg_candles') }}
        where timestamp between spans.first_at and spans.last_at
            and {{ hashed_in('load_id', 'consumed_loads', 'load_id') }}
        -- keeps it a loop over spans, which the index on time serves; a join would read every raw candle
        offset 0
    ) as candles
    order by {{ newest_first(['candles.instrument', 'candles.timestamp']) | indent(4) }}

),

compared as (

    select
        *,
        lag(load_id) over by_load as previous_load,
        lag(open) over by_load as old_open,
        lag(high) over by_load as old_high,
        lag(low) over by_load as old_low,
        lag(close) over by_load as old_close,
        lag(volume) over by_load as old_volume
    from versions
    window by_load as (partition by instrument, timestamp order by load_id::numeric)

),

final as (

    select
        compared.instrument,
        compared.timestamp,
        compared.old_open::numeric(18, 8) as old_open,
        compared.open as new_open,
        compared.old_high::numeric(18, 8) as old_high,
        compared.high as new_high,
        compared.old_low::numeric(18, 8) as old_low,
        compared.low as new_low,
        compared.old_close::numeric(18, 8) as old_close,
        compared.close as new_close,
        compared.old_volume::numeric(18, 8) as old_volume,
        compared.volume as new_volume,
        compared.previous_load::text as previous_load,
        compared.load_id::text as load_id,
        loads.loaded_at as revised_at
    from compared
    inner join loads on loads.load_id = compared.load_id
    where compared.previous_load is not null
        and compared.load_id in (select load_id from claimed_loads)
        and (compared.open, compared.high, compared.low, compared.close, compared.volume)
        is distinct from
        (compared.old_open, compared.old_high, compared.old_low, compared.old_close, compared.old_volume)

)

select * from final
