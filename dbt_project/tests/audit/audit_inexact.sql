{#- ohlcv_inexact counts every value of perpetuals_ohlcv that differs from what Deribit sent. -#}
with recomputed as (

    select
        sent.instrument,
        {{ utc_day('sent.timestamp') }} as day,
        sum(
            {% for value in ['open', 'high', 'low', 'close', 'volume'] -%}
            (sent.{{ value }} <> candles.{{ value }})::integer{{ ' + ' if not loop.last }}
            {% endfor -%}
        ) as inexact
    from {{ ref('stg_inexact_candles') }} as sent
    inner join {{ ref('perpetuals_ohlcv') }} as candles
        on {{ is_table_version('sent', 'candles') | indent(8) }}
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
