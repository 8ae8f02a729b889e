{{
    config(
        enabled=can_roll_up(15, '00'),
        meta={'grain_minutes': 15, 'anchor': '00', 'index': 'idx_perpetuals_15m_instrument'}
    )
}}

{{ rollup(15, '00') }}
