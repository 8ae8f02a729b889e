{{ config(severity='warn', fail_calc='coalesce(sum(inexact), 0)') }}

select * from {{ ref('ohlcv_inexact') }}
where inexact > 0
