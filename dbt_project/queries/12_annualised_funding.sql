-- Funding of each UTC day as an annual percentage, simple interest on 365 days. An hour that ends at midnight belongs to the day before.
-- `hours` is 24 for a complete day.
with hours as (

    select
        ((timestamp - interval '1 hour') at time zone 'utc')::date as day,
        interest_1h
    from perpetuals_funding
    where
        instrument = 'BTC-PERPETUAL'
        and timestamp > '2025-09-29 00:00+00'
        and timestamp <= '2025-10-02 00:00+00'

),

final as (

    select
        day,
        count(*) as hours,
        100 * sum(interest_1h) as funding_percent,
        100 * 365 * 24 * avg(interest_1h) as annual_percent
    from hours
    group by day

)

select * from final
order by day;
