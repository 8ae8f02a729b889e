{{
    config(
        enabled=can_roll_up(240, '00'),
        meta={'columnstore_chunk_interval': '420 days', 'grain_minutes': 240, 'anchor': '00', 'index': 'idx_perpetuals_4h_instrument'}
    )
}}

{{ rollup(240, '00') }}
