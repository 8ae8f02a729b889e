{{
    config(
        enabled=can_roll_up(5, '00'),
        meta={'grain_minutes': 5, 'anchor': '00', 'index': 'idx_perpetuals_5m_instrument'}
    )
}}

{{ rollup(5, '00') }}
