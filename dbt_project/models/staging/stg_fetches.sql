with fetches as (

    select * from {{ source('deribit_raw', 'fetches') }}

),

unfinished_loads as (

    select load_id
    from {{ source('deribit_raw', '_dlt_loads') }}
    where status <> 0

),

final as (

    select
        instrument::text as instrument,
        resolution::text as resolution,
        window_start,
        window_end,
        rows,
        new_rows,
        changed_rows,
        fetched_at,
        source::text as source,
        _dlt_load_id::text as load_id,
        _dlt_load_id::numeric as load_number
    from fetches
    where _dlt_load_id not in (select load_id from unfinished_loads)

)

select * from final
