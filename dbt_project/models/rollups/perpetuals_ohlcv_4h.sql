{{
    config(
        materialized='incremental',
        enabled=can_roll_up(240, '00'),
        incremental_strategy='upsert',
        unique_key=['timestamp', 'instrument'],
        on_schema_change='fail',
        full_refresh=false,
        meta={'hypertable': {
            'time_column': 'timestamp',
            'chunk_interval': '420 days',
            'segment_by': ['instrument'],
            'order_by': ['"timestamp"'],
            'rollup': {'minutes': 240, 'anchor': '00'}
        }},
        pre_hook=[
            '{{ expect_hypertable() }}',
            "{{ claim_loads_after(rollup_source(240).model) }}",
            "set local enable_nestloop = off; set local work_mem = '64MB'"
        ],
        post_hook=[
            "{{ create_index_once('idx_perpetuals_4h_instrument', 'instrument, timestamp desc') }}",
            '{{ reconcile_hypertable() }}'
        ]
    )
}}

{{ rollup(240, '00') }}
