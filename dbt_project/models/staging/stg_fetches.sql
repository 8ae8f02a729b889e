with fetches as (

    select * from {{ source('deribit_raw', 'fetches') }}

),

final as (

    select
        instrument::text as instrument,
        endpoint::text as endpoint,
        resolution::text as resolution,
        window_start,
        window_end,
        rows,
        new_rows,
        changed_rows,
        fetched_at,
        origin::text as origin,
        _dlt_load_id::text as load_id,
        _dlt_load_id::numeric as load_number
    from fetches
    where {{ load_is_complete() }}

)

select * from final
