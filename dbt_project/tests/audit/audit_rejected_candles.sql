{#- rejected_candles lists exactly the raw candles that cannot be used. -#}
with loads as (

    select load_id from {{ ref('stg_loads') }}
    where load_number <= {{ read_to('rejected_candles') | indent(8) }}

),

recomputed as (

    select distinct
        instrument,
        timestamp,
        load_id
    from {{ ref('stg_rejected_candles') }}
    where {{ hashed_in('load_id', 'loads', 'load_id') }}

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
        or recomputed.load_id is null

)

select * from final
