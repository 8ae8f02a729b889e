-- depends_on: {{ ref('funding_gaps') }}
-- depends_on: {{ ref('settlement_gaps') }}
with rejected as (

    select * from {{ ref('rejected_rows') }}

),

funding as (

    select * from {{ ref('perpetuals_funding') }}

),

settlements as (

    select * from {{ ref('perpetuals_settlements') }}

),

known as (

    select * from {{ ref('known_gaps') }}

),

final as (

    select rejected.*
    from rejected
    left join funding
        on rejected.endpoint = 'funding'
        and funding.instrument = rejected.instrument
        and funding.timestamp = {{ bucket_open('rejected.timestamp', minutes=60, anchor='00') }}
    left join settlements
        on rejected.endpoint = 'settlements'
        and settlements.instrument = rejected.instrument
        and settlements.settlement_day = {{ utc_day(settlement_day_open('rejected.timestamp')) }}
    where funding.timestamp is null
        and settlements.settlement_day is null
        and not exists (
            select from known
            where known.instrument = rejected.instrument
                and {{ endpoint_of('known') }} = rejected.endpoint
                and rejected.timestamp > known.gap_start
                and rejected.timestamp < known.gap_end
        )

)

select * from final
