{{
    config(
        enabled=can_roll_up(1440, '00'),
        meta={'columnstore_chunk_interval': '420 days', 'grain_minutes': 1440, 'anchor': '00', 'index': 'idx_perpetuals_1d_instrument'}
    )
}}

{{ rollup(1440, '00') }}
