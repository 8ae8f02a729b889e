{#- exchange_bars has the newest version of every longer candle in the raw tables. -#}
with loads as (

    select load_id from {{ ref('stg_loads') }}
    where load_number <= {{ read_to('exchange_bars') | indent(8) }}

),

raw_bars as (

    select distinct on (instrument, resolution, timestamp) *
    from {{ ref('stg_bars') }}
    where {{ hashed_in('load_id', 'loads', 'load_id') }}
    order by {{ newest_first(['instrument', 'resolution', 'timestamp']) | indent(4) }}

),

bars as (

    select * from {{ ref('exchange_bars') }}

),

final as (

    select
        raw_bars.instrument,
        raw_bars.resolution,
        raw_bars.timestamp,
        bars.close,
        raw_bars.close as raw_close
    from raw_bars
    full join bars
        on bars.instrument = raw_bars.instrument
        and bars.resolution = raw_bars.resolution
        and bars.timestamp = raw_bars.timestamp
    where (bars.open, bars.high, bars.low, bars.close, bars.volume)
        is distinct from
        (raw_bars.open, raw_bars.high, raw_bars.low, raw_bars.close, raw_bars.volume)

)

select * from final
