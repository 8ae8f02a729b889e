{#- perpetuals_funding has exactly the newest usable version of every row in the raw table. -#}
with loads as (

    select load_id from {{ ref('stg_loads') }}
    where load_number <= {{ read_to('perpetuals_funding') | indent(8) }}

),

recomputed as (

    select distinct on (timestamp, instrument)
        *
    from (
        select
            *
        from {{ ref('stg_funding') }}
        where {{ funding_rejection() | indent(12) }} is null
            and {{ hashed_in('load_id', 'loads', 'load_id') }}
    ) as usable
    order by
        timestamp,
        instrument,
        load_id::numeric desc,
        interest_1h,
        interest_8h,
        index_price,
        prev_index_price

),

stored as (

    select * from {{ ref('perpetuals_funding') }}

),

compared as (

    select
        coalesce(stored.timestamp, recomputed.timestamp) as timestamp,
        coalesce(stored.instrument, recomputed.instrument) as instrument,
        case
            when stored.timestamp is null then 'in raw only'
            when recomputed.timestamp is null then 'in the table only'
            else 'different'
        end as problem
    from stored
    full join recomputed
        on recomputed.timestamp = stored.timestamp
        and recomputed.instrument = stored.instrument
    where (stored.interest_1h, stored.interest_8h, stored.index_price, stored.prev_index_price)
        is distinct from
        (recomputed.interest_1h, recomputed.interest_8h, recomputed.index_price, recomputed.prev_index_price)

),

final as (

    select * from compared

    union all

    select
        null,
        null,
        'no rows'
    where not exists (select from stored)
        and {{ rows_landed('funding') }}

)

select * from final
