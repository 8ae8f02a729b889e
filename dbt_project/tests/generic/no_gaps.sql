{% test no_gaps(model, instrument_column='instrument', timestamp_column='timestamp', after=none) %}

{{ config(store_failures=true) }}

with gaps as (

    {{ gaps_sql(model, instrument_column, timestamp_column, wider_than_minutes=var('gap_threshold_minutes') | int) }}

)

select
    instrument::text as instrument,
    gap_start,
    gap_end,
    gap_minutes,
    'gap' as problem
from gaps

union all

select null, null, null, null, 'no rows'
where not exists (select from {{ model }})

{% endtest %}
