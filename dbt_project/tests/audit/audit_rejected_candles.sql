with consumed_loads as (

    select load_id from {{ source('quality', 'consumed_loads') }}
    where model = 'perpetuals_ohlcv'
        and claimed_by is not null

),

recomputed as (

    select distinct
        instrument,
        timestamp,
        _dlt_load_id as load_id
    from {{ source('deribit_raw', 'candles') }}
    where resolution = '{{ base_resolution() }}'
        and {{ rejection_reason() }} is not null
        and {{ hashed_in('_dlt_load_id', 'consumed_loads', 'load_id') }}

),

rejected as (

    select * from {{ ref('rejected_candles') }}
    where resolution = '{{ base_resolution() }}'

),

final as (

    select
        coalesce(rejected.instrument, recomputed.instrument) as instrument,
        coalesce(rejected.timestamp, recomputed.timestamp) as timestamp,
        coalesce(rejected.load_id, recomputed.load_id) as load_id,
        rejected.load_id is not null as listed
    from rejected
    full join recomputed
        on recomputed.instrument = rejected.instrument
        and recomputed.timestamp = rejected.timestamp
        and recomputed.load_id = rejected.load_id
    where rejected.load_id is null
        or (recomputed.load_id is null and not {{ is_dropped('rejected.load_id', 'rejected.timestamp') | indent(8) }})

)

select * from final
