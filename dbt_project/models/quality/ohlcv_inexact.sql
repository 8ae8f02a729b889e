{{ config(materialized='hypertable', meta={'time_column': 'day', 'grain_minutes': 1440}) }}

with sent as (

    select * from {{ ref('stg_inexact_candles') }}
    where {{ in_range() }}

),

candles as (

    select * from {{ ref('perpetuals_ohlcv') }}
    where {{ in_range() }}
        and exists (select from sent)

),

compared as (

    select
        sent.instrument,
        sent.timestamp,
        {{ utc_day('sent.timestamp') }} as day,
        columns.column_name,
        columns.sent_value,
        columns.table_value
    from sent
    left join candles
        on {{ is_table_version('sent', 'candles') | indent(8) }}
    cross join lateral (
        values
        ('open', sent.open, candles.open),
        ('high', sent.high, candles.high),
        ('low', sent.low, candles.low),
        ('close', sent.close, candles.close),
        ('volume', sent.volume, candles.volume)
    ) as columns (column_name, sent_value, table_value)
    where columns.sent_value is distinct from columns.table_value

),

-- a day keeps its row, with a count of 0, when all its inexact candles have been replaced
final as (

    select distinct on (instrument, day)
        instrument,
        day,
        (count(table_value) over (partition by instrument, day))::integer as inexact,
        timestamp,
        column_name,
        sent_value,
        table_value
    from compared
    order by
        instrument,
        day,
        abs(sent_value - table_value) / abs(sent_value) desc nulls last,
        timestamp,
        column_name

)

select * from final
