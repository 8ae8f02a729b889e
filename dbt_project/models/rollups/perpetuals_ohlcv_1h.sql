{{
    config(
        enabled=can_roll_up(60, '00'),
        meta={'grain_minutes': 60, 'anchor': '00', 'index': 'idx_perpetuals_1h_instrument'}
    )
}}

{{ rollup(60, '00') }}
