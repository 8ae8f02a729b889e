with candles as (

    select * from {{ source('deribit_raw', 'candles') }}

),

final as (

    select
        timestamp,
        instrument::text as instrument,
        resolution::text as resolution,
        {{ as_sent('open') }} as open,
        {{ as_sent('high') }} as high,
        {{ as_sent('low') }} as low,
        {{ as_sent('close') }} as close,
        -- a day's volume of a small coin may not fit numeric(18,8)
        volume::text::numeric(38, 8) as volume,
        _dlt_load_id::text as load_id
    from candles
    where {{ resolution_minutes() }} > {{ bucket_minutes() }}
        -- NaN sorts above every number
        and greatest(abs(open), abs(high), abs(low), abs(close)) < 1e10::double precision
        and abs(volume) < 1e30::double precision
        and num_nulls(open, high, low, close, volume) = 0
        and {{ load_is_complete() }}

)

select * from final
