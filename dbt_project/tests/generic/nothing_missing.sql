{#- The coverage is an argument so that it is built before: dbt build skips all models downstream of a failing test. -#}
{% test nothing_missing(model, gaps, coverage, endpoint, reasons) %}

with gaps as (

    select * from {{ gaps }}
    where reason in ('{{ reasons | join("', '") }}')

)

select
    instrument,
    gap_start,
    gap_end,
    missing,
    reason as problem
from gaps

union all

select null, null, null, null, 'no rows'
where not exists (select from {{ model }})
    and {{ rows_landed(endpoint) }}

{% endtest %}
