{{ config(severity='warn') }}

{%- set spans = checked_spans(ref('perpetuals_funding')) %}

with funding as (

    {{ funding_in(spans) }}

),

inverse as (

    select instrument from {{ ref('perpetuals') }}
    where kind = 'inverse'

),

windows as (

    select
        funding.*,
        first_value(funding.prev_index_price) over eight_hours * sum(funding.interest_1h / funding.prev_index_price) over eight_hours
            as expected_8h,
        first_value(funding.timestamp) over eight_hours as first_hour,
        count(funding.prev_index_price) over eight_hours as hours
    from funding
    inner join inverse on inverse.instrument = funding.instrument
    window
        eight_hours as (
            partition by funding.span, funding.instrument
            order by funding.timestamp
            rows between 7 preceding and current row
        )

),

final as (

    select
        instrument,
        timestamp,
        interest_8h,
        expected_8h
    from windows
    where is_checked
        and hours = 8
        and first_hour = timestamp - interval '7 hours'
        and abs(interest_8h - expected_8h) > greatest(1e-3 * abs(interest_8h), 1e-7)

)

select * from final
