{{
    config(
        materialized='incremental',
        enabled=can_roll_up(60, '00'),
        incremental_strategy='upsert',
        unique_key=['timestamp', 'instrument'],
        on_schema_change='fail',
        full_refresh=false,
        meta={'hypertable': {
            'time_column': 'timestamp',
            'chunk_interval': '420 days',
            'columnstore_chunk_interval': '84 days',
            'segment_by': ['instrument'],
            'order_by': ['"timestamp"'],
            'rollup': {'minutes': 60, 'anchor': '00'}
        }},
        pre_hook=[
            '{{ expect_hypertable() }}',
            "{{ claim_loads_after(rollup_source(60).model) }}",
            "set local enable_nestloop = off; set local work_mem = '64MB'"
        ],
        post_hook=[
            "{{ create_index_once('idx_perpetuals_1h_instrument', 'instrument, timestamp desc') }}",
            '{{ reconcile_hypertable() }}'
        ]
    )
}}

{{ rollup(60, '00') }}
