-- What positions paid in funding between two whole hours, in the coin of settlement and in USD. Below 0 the position was paid: longs pay
-- shorts while the rate is above 0. An inverse position of N USD pays N * interest_1h / prev_index_price of its base coin each hour: so
-- add up Deribit's own eight-hour rates (seen). A linear position of Q base coins pays Q * index_price * interest_1h of its quote coin
-- (unverified). USD are counted at the index of each hour, and a USDC as one. An hour's timestamp is its end, so the hours after the
-- opening and up to the close count; compare `hours` with their number. Write your own positions: `size` is in USD for inverse
-- perpetuals and in the base coin for linear ones.
with positions (instrument, side, size) as (

    values
    ('BTC-PERPETUAL', 'long', 100000::double precision),
    ('BTC-PERPETUAL', 'short', 100000::double precision),
    ('SOL_USDC-PERPETUAL', 'long', 500::double precision),
    ('SOL_USDC-PERPETUAL', 'short', 500::double precision)

),

hours as (

    select * from perpetuals_funding
    where
        timestamp > '2025-09-10 12:00+00'
        and timestamp <= '2025-10-01 12:00+00'

),

paid as (

    select
        positions.instrument,
        positions.side,
        positions.size,
        perpetuals.kind,
        perpetuals.settlement_currency as coin,
        hours.index_price,
        case positions.side when 'long' then 1 else -1 end * hours.interest_1h
        * case perpetuals.kind
            when 'inverse' then positions.size / coalesce(hours.prev_index_price, hours.index_price)
            when 'linear' then positions.size * hours.index_price
        end as paid_coin
    from positions
    inner join perpetuals on perpetuals.instrument = positions.instrument
    inner join hours on hours.instrument = positions.instrument

),

final as (

    select
        instrument,
        side,
        size,
        count(*) as hours,
        coin,
        sum(paid_coin) as paid_coin,
        sum(case kind when 'inverse' then paid_coin * index_price else paid_coin end) as paid_usd
    from paid
    group by instrument, side, size, coin

)

select * from final
order by instrument, side;
