{#- ohlcv_inexact counts every value of perpetuals_ohlcv that differs from what Deribit sent. -#}
{%- set values = ['open', 'high', 'low', 'close', 'volume'] -%}
with spans as (

    {{ audit_spans() }}

),

versions as (

    select
        instrument,
        timestamp,
        {% for value in values -%}
        {{ exact_numeric(value) }} as {{ value }},
        {% endfor -%}
        {% for value in values -%}
        ({{ is_inexact(value) }})::integer{{ ' + ' if not loop.last }}
        {%- endfor %} as inexact
    from {{ ref('stg_inexact_candles') }}

    union all

    select
        instrument,
        timestamp,
        {% for value in values -%}
        {{ value }},
        {% endfor -%}
        null as inexact
    from {{ ref('perpetuals_ohlcv') }}

),

-- grouped, because PostgreSQL would join them by a nested loop over all chunks
kept as (

    select versions.*
    from spans
    cross join lateral (
        select
            instrument,
            timestamp,
            sum(inexact) as inexact
        from versions
        where timestamp >= spans.opens_at
            and timestamp < spans.closes_at
        group by
            instrument,
            timestamp,
            {{ values | join(',\n            ') }}
        having count(*) = 2
    ) as versions

),

recomputed as (

    select
        instrument,
        {{ utc_day('timestamp') }} as day,
        sum(inexact) as inexact
    from kept
    group by 1, 2

),

inexact as (

    select * from {{ ref('ohlcv_inexact') }}
    where inexact > 0

),

final as (

    select
        coalesce(inexact.instrument, recomputed.instrument) as instrument,
        coalesce(inexact.day, recomputed.day) as day,
        inexact.inexact,
        recomputed.inexact as inexact_recomputed
    from inexact
    full join recomputed
        on recomputed.instrument = inexact.instrument
        and recomputed.day = inexact.day
    where inexact.inexact is distinct from recomputed.inexact

)

select * from final
