{{ config(materialized='hypertable', meta={'reads': 'changes'}) }}

with candles as (

    select * from {{ ref('stg_candles') }}
    where {{ in_range() }}

),

loads as (

    select * from {{ ref('stg_loads') }}

),

versions as (

    select distinct on (instrument, timestamp, load_id::numeric) *
    from candles
    order by {{ newest_first(['instrument', 'timestamp']) | indent(4) }}

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
        compared.previous_load,
        compared.load_id,
        (select loads.loaded_at from loads where loads.load_number = compared.load_id::numeric) as revised_at
    from compared
    where compared.previous_load is not null
        -- a version in raw that differs only in cost, or beyond the eighth decimal, is no revision of the candle
        and (compared.open, compared.high, compared.low, compared.close, compared.volume)
        is distinct from
        (compared.old_open, compared.old_high, compared.old_low, compared.old_close, compared.old_volume)

)

select * from final
