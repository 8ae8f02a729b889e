{% test no_tail_gap(model, coverage, threshold_minutes=none) %}

{%- set threshold = (threshold_minutes or var('tail_threshold_minutes')) | int %}

with coverage as (

    select * from {{ coverage }}

)

select
    instrument,
    last_candle,
    checked_at,
    tail_minutes,
    'tail gap above {{ threshold }} minutes' as problem
from coverage
where tail_minutes > {{ threshold }}

union all

select null, null, null, null, 'no rows'
where not exists (select from {{ model }})
    and {{ candles_wanted() }}

{% if coverage -%}
union all

select null, null, null, null, 'ohlcv_candle_days is behind the table'
where {{ is_behind('ohlcv_candle_days') }}
{%- endif %}

{% endtest %}
