{{ config(severity='error') }}

select * from {{ ref('rejected_candles') }}
