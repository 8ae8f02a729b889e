{{ config(materialized='hypertable', meta={'time_column': 'day', 'grain_minutes': 1440}) }}

{%- set values = ['open', 'high', 'low', 'close', 'volume'] %}

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
        sent.*,
        {{ utc_day('sent.timestamp') }} as day,
        candles.timestamp is not null as is_kept,
        {% for value in values -%}
        ({{ is_inexact('sent.' ~ value) }})::integer{{ ' + ' if not loop.last }}
        {%- endfor %} as inexact,
        greatest(
            {% for value in values -%}
            {{ rounding_loss('sent.' ~ value) }}{{ ',' if not loop.last }}
            {% endfor -%}
        ) as loss
    from sent
    left join candles
        on {{ is_table_version('sent', 'candles') | indent(8) }}

),

-- a day keeps its row, with a count of 0, when all its inexact candles have been replaced
days as (

    select distinct on (instrument, day)
        *,
        coalesce(sum(inexact) filter (where is_kept) over (partition by instrument, day), 0)::integer as inexact_of_day
    from compared
    order by
        instrument,
        day,
        is_kept desc,
        loss desc,
        timestamp

),

final as (

    select
        days.instrument,
        days.day,
        days.inexact_of_day as inexact,
        days.timestamp,
        columns.column_name,
        {{ as_sent('columns.sent_value') }} as sent_value,
        case when days.is_kept then {{ exact_numeric('columns.sent_value') }} end as table_value
    from days
    cross join lateral (
        select
            column_name,
            sent_value
        from (
            values
            {% for value in values -%}
            ('{{ value }}', days.{{ value }}, {{ rounding_loss('days.' ~ value) }}){{ ',' if not loop.last }}
            {% endfor -%}
        ) as columns (column_name, sent_value, loss)
        order by
            loss desc nulls last,
            column_name
        limit 1
    ) as columns

)

select * from final
