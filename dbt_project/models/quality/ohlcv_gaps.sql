{%- set bucket = bucket_minutes() ~ ' minutes' %}
with runs as (

    select * from {{ ref('ohlcv_missing') }}

),

-- without fetches that have a candle for each bucket, which are nearly all: they cannot explain a gap
fetches as (

    select
        instrument,
        window_start,
        window_end,
        max(fetched_at) as fetched_at
    from {{ ref('stg_fetches') }}
    where resolution = '{{ base_resolution() }}'
        and rows * interval '{{ bucket }}' < window_end - window_start
        -- loads that the days have not read yet may have the missing candles
        and load_number <= {{ read_to('ohlcv_candle_days') | indent(8) }}
    group by 1, 2, 3

),

rejected as (

    select
        instrument,
        {{ bucket_open('timestamp') }} as opens_at
    from {{ ref('rejected_candles') }}
    where resolution = '{{ base_resolution() }}'

),

{{ reasons_of_runs(bucket) }},

final as (

    select
        instrument,
        gap_start,
        gap_end,
        (extract(epoch from missing) / 60)::integer as gap_minutes,
        reason,
        note,
        last_fetched_at
    from explained

)

select * from final
