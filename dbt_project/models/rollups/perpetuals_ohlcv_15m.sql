{{
    config(
        materialized='incremental',
        enabled=can_roll_up(15, '00'),
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
            'rollup': {'minutes': 15, 'anchor': '00'}
        }},
        pre_hook=[
            '{{ expect_hypertable() }}',
            "{{ claim_loads_after(rollup_source(15).model) }}",
            "set local enable_nestloop = off; set local work_mem = '64MB'"
        ],
        post_hook=[
            "{{ create_index_once('idx_perpetuals_15m_instrument', 'instrument, timestamp desc') }}",
            '{{ reconcile_hypertable() }}'
        ]
    )
}}

{{ rollup(15, '00') }}
