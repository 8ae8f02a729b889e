{{ config(materialized='hypertable', meta={'time_column': 'day', 'grain_minutes': 1440}) }}

with told as (

    select * from {{ ref('stg_inexact_candles') }}
    where {{ in_range() }}

),

candles as (

    select * from {{ ref('perpetuals_ohlcv') }}
    where {{ in_range() }}
        and exists (select from told)

),

compared as (

    select
        told.instrument,
        told.timestamp,
        {{ utc_day('told.timestamp') }} as day,
        columns.column_name,
        columns.told,
        columns.kept
    from told
    left join candles
        on {{ is_told_as('told', 'candles') | indent(8) }}
    cross join lateral (
        values
        ('open', told.open, candles.open),
        ('high', told.high, candles.high),
        ('low', told.low, candles.low),
        ('close', told.close, candles.close),
        ('volume', told.volume, candles.volume)
    ) as columns (column_name, told, kept)
    where columns.told is distinct from columns.kept

),

-- a day keeps its row, with a count of 0, when all its inexact candles have been replaced
final as (

    select distinct on (instrument, day)
        instrument,
        day,
        (count(kept) over (partition by instrument, day))::integer as inexact,
        timestamp,
        column_name,
        told,
        kept
    from compared
    order by
        instrument,
        day,
        abs(told - kept) / abs(told) desc nulls last,
        timestamp,
        column_name

)

select * from final
