{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['timestamp', 'instrument'],
        indexes=[
            {'columns': ['timestamp', 'instrument'], 'unique': true},
            {'columns': ['_dlt_load_id']},
        ],
    )
}}

with final as (

    select
        "timestamp",
        instrument,
        open::numeric(18, 8) as open,
        high::numeric(18, 8) as high,
        low::numeric(18, 8) as low,
        close::numeric(18, 8) as close,
        volume::numeric(18, 8) as volume,
        -- by load, not by time: so candles that arrive late, or of an instrument that is listed later, are read
        _dlt_load_id
    from {{ source('deribit', 'candles') }}
    {% if is_incremental() %}
    where _dlt_load_id > (select max(_dlt_load_id) from {{ this }})
    {% endif %}

)

select * from final
