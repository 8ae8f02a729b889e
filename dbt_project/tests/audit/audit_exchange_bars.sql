with consumed_loads as (

    select load_id from {{ source('quality', 'consumed_loads') }}
    where model = 'exchange_bars'
        and claimed_by is not null

),

raw_bars as (

    select distinct on (instrument, resolution, timestamp)
        instrument,
        resolution,
        timestamp,
        close,
        volume
    from (
        select
            *,
            _dlt_load_id as load_id
        from {{ source('deribit_raw', 'candles') }}
    ) as candles
    where {{ resolution_minutes() }} > {{ bucket_minutes() }}
        and {{ hashed_in('load_id', 'consumed_loads', 'load_id') }}
        and open + high + low + close < 1e10::double precision
        and abs(volume) < 1e30::double precision
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
    left join bars
        on bars.instrument = raw_bars.instrument
        and bars.resolution = raw_bars.resolution
        and bars.timestamp = raw_bars.timestamp
    where bars.close is distinct from {{ exact_numeric('raw_bars.close') }}
        or bars.volume is distinct from raw_bars.volume::text::numeric(38, 8)

)

select * from final
