with counted_loads as (

    {{ counted_loads() }}

),

recounted as (

    select
        _dlt_load_id as load_id,
        instrument,
        resolution,
        {{ bucket_open('timestamp', minutes=1440, anchor='00') }} as opens_at,
        count(*) as candles,
        count({{ rejection_reason() }}) filter (where resolution = '{{ base_resolution() }}') as rejected,
        min(timestamp) as first_at,
        max(timestamp) as last_at
    from {{ source('deribit_raw', 'candles') }}
    where {{ hashed_in('_dlt_load_id', 'counted_loads', 'load_id') }}
    group by 1, 2, 3, 4

),

loaded_days as (

    select
        *,
        {{ day_open('day') }} as opens_at
    from {{ source('quality', 'loaded_days') }}

),

final as (

    select
        coalesce(loaded_days.load_id, recounted.load_id) as load_id,
        coalesce(loaded_days.instrument, recounted.instrument) as instrument,
        coalesce(loaded_days.resolution, recounted.resolution) as resolution,
        coalesce(loaded_days.opens_at, recounted.opens_at) as opens_at,
        loaded_days.candles,
        recounted.candles as candles_recounted,
        loaded_days.rejected,
        recounted.rejected as rejected_recounted
    from loaded_days
    full join recounted
        on recounted.load_id = loaded_days.load_id
        and recounted.instrument = loaded_days.instrument
        and recounted.resolution = loaded_days.resolution
        and recounted.opens_at = loaded_days.opens_at
    where (loaded_days.candles, loaded_days.rejected, loaded_days.first_at, loaded_days.last_at)
        is distinct from
        (recounted.candles, recounted.rejected, recounted.first_at, recounted.last_at)
        and not {{ is_dropped('loaded_days.load_id', 'loaded_days.first_at', 'loaded_days.last_at') | indent(8) }}

    union all

    select
        load_id,
        null, null, null, null, null, null, null
    from {{ source('quality', 'consumed_loads') }}
    where model in ('perpetuals_ohlcv', 'exchange_bars')
        and load_id not in (select load_id from counted_loads)

)

select * from final
