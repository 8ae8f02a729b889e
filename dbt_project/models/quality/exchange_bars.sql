{{ config(materialized='hypertable', meta={'reads': 'bars'}) }}

with bars as (

    select * from {{ ref('stg_bars') }}
    where {{ in_range() }}

),

final as (

    select distinct on (instrument, resolution, timestamp)
        instrument,
        resolution,
        timestamp,
        open,
        high,
        low,
        close,
        volume
    from bars
    order by {{ newest_first(['instrument', 'resolution', 'timestamp']) | indent(4) }}

)

select * from final
