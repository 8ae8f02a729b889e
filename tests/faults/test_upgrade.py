"""A database that the first version has filled and built is updated, built and audited by this one."""

from __future__ import annotations

import pytest

from tests.faults.flow import BACKFILL, INSTRUMENTS, START, Flow
from tests.integration.truth import rows

NOON = "2024-01-02T12:00:00Z"
BUILD = ("dbt", "--", "build", "--resource-type", "model", "--resource-type", "seed")

FIRST_VERSION = """
drop index deribit_raw.candles_load;
create index candles_load on deribit_raw.candles using brin (_dlt_load_id) with (pages_per_range = 16);
create table first_loads as select load_id from deribit_raw._dlt_loads;
drop schema quality, staging cascade;
create schema quality;
create table quality.consumed_loads (
    model text not null,
    resolution text not null,
    load_id text not null,
    consumed_at timestamptz not null default now(),
    claimed_by xid8 default pg_current_xact_id(),
    primary key (model, load_id)
);
insert into quality.consumed_loads (model, resolution, load_id)
select model, '1', load_id
from first_loads cross join unnest(array['perpetuals_ohlcv', 'rejected_candles']) as model;
drop table first_loads;
create table quality.rejected_candles (
    instrument text not null,
    resolution text not null,
    "timestamp" timestamptz not null,
    open double precision,
    high double precision,
    low double precision,
    close double precision,
    volume double precision,
    cost double precision,
    reason text not null,
    load_id text not null,
    loaded_at timestamptz,
    primary key ("timestamp", instrument, resolution, load_id)
);
create view quality.ohlcv_gaps as
select instrument, "timestamp" as gap_start, "timestamp" as gap_end, 0 as gap_minutes
from perpetuals_ohlcv limit 0;
create view quality.ohlcv_coverage as
select
    instrument, count(*) as candles, min("timestamp") as first_candle, max("timestamp") as last_candle,
    count(*) as expected, 0::bigint as missing, 100.0 as coverage_percent
from perpetuals_ohlcv group by instrument;
create view quality.ohlcv_violations as select *, 'rule' as rule from perpetuals_ohlcv limit 0;
"""
"""What 0077cb7 left: its index knew loads alone, and quality had two tables and three views of other columns.
The raw tables are dlt's of the same columns as today."""


@pytest.mark.long
def test_what_the_first_version_left_is_updated_built_and_audited(flow: Flow):
    flow.set_clock(NOON)
    flow.expect(*BACKFILL)
    flow.expect("dbt", "--", "run", "--select", "+perpetuals_ohlcv")
    before = rows(flow.database, "select count(*) from perpetuals_ohlcv")
    opened = flow.database.connect()
    with opened.cursor() as cursor:
        cursor.execute(FIRST_VERSION)
    opened.close()

    flow.set_clock("2024-01-03T00:00:00Z")
    flow.recover("people", "raw tables and models of the first version", ("update",), BUILD, ("audit",))
    assert before == [(2 * 36 * 60,)]
    days = "select instrument, day::text, candles from quality.ohlcv_days order by 1, 2"
    assert rows(flow.database, days) == [
        (name, day, 1440) for name in INSTRUMENTS for day in (START[:10], "2024-01-02")
    ]
    index = rows(flow.database, "select indexdef from pg_indexes where indexname = 'candles_load'")
    assert 'brin (_dlt_load_id, "timestamp")' in index[0][0]
