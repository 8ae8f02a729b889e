{#- perpetuals_settlements has exactly the newest usable version of every row in the raw table. -#}
with loads as (

    select load_id from {{ ref('stg_loads') }}
    where load_number <= {{ read_to('perpetuals_settlements') | indent(8) }}

),

recomputed as (

    select distinct on (settlement_day, instrument)
        *
    from (
        select
            *,
            {{ utc_day(settlement_day_open('settled_at')) }} as settlement_day
        from {{ ref('stg_settlements') }}
        where {{ settlement_rejection() | indent(12) }} is null
            and {{ hashed_in('load_id', 'loads', 'load_id') }}
    ) as usable
    order by
        settlement_day,
        instrument,
        load_id::numeric desc,
        settled_at desc,
        open_interest,
        mark_price,
        index_price,
        profit_loss,
        session_profit_loss

),

stored as (

    select * from {{ ref('perpetuals_settlements') }}

),

compared as (

    select
        coalesce(stored.settlement_day, recomputed.settlement_day) as settlement_day,
        coalesce(stored.instrument, recomputed.instrument) as instrument,
        case
            when stored.settlement_day is null then 'in raw only'
            when recomputed.settlement_day is null then 'in the table only'
            else 'different'
        end as problem
    from stored
    full join recomputed
        on recomputed.settlement_day = stored.settlement_day
        and recomputed.instrument = stored.instrument
    where (stored.settled_at, stored.open_interest, stored.mark_price, stored.index_price, stored.profit_loss, stored.session_profit_loss)
        is distinct from
        (recomputed.settled_at, recomputed.open_interest, recomputed.mark_price, recomputed.index_price, recomputed.profit_loss, recomputed.session_profit_loss)

),

final as (

    select * from compared

    union all

    select
        null,
        null,
        'no rows'
    where not exists (select from stored)
        and {{ rows_landed('settlements') }}

)

select * from final
