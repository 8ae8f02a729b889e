{{
    config(
        materialized='hypertable',
        meta={
            'reads': 'settlements',
            'time_column': 'settlement_day',
            'grain_minutes': 1440,
            'anchor': '08',
            'rows_a_day': 1
        }
    )
}}

with settlements as (

    select
        *,
        {{ utc_day(settlement_day_open('settled_at')) }} as settlement_day
    from {{ ref('stg_settlements') }}
    where {{ in_range('settled_at') }}
        and {{ settlement_rejection() | indent(8) }} is null

),

final as (

    select distinct on (settlement_day, instrument)
        settled_at,
        settlement_day,
        instrument,
        open_interest,
        mark_price,
        index_price,
        profit_loss,
        session_profit_loss
    from settlements
    -- of two settlements of a day in one load the later one counts; the values make any other choice deterministic
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

)

select * from final
