{{ config(severity='warn') }}

select * from {{ ref('rejected_candles') }}
