"""Upkeep has the server's settings follow dbt's variables; a columnstore changes sizes alone.

Half of these tests need TimescaleDB's Community edition, and are skipped with the embedded server's packages;
they ran with PERPS_CACHE naming others.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from extract.database import cleaning
from tests.support.dbt_project import Candle, DbtProject, candles, minute

TABLES = ("deribit_raw.candles", "public.perpetuals_ohlcv")
MODELS = ("--select", "+perpetuals_ohlcv")
WEEKS = 12

INTERVALS = """
select hypertable_schema || '.' || hypertable_name, time_interval
from timescaledb_information.dimensions
where hypertable_name in ('candles', 'perpetuals_ohlcv')
order by 1
"""
OPTIONS = """
select hypertable::text, segmentby, orderby, compress_interval_length::interval
from timescaledb_information.hypertable_compression_settings
where segmentby is not null
order by 1
"""
POLICIES = """
select hypertable_name, job_id, (config ->> 'compress_after')::interval
from timescaledb_information.jobs
where proc_name = 'policy_compression'
order by 1
"""
CHUNKS = """
select
    hypertable_name,
    chunk_name,
    _timescaledb_functions.chunk_status(format('%I.%I', chunk_schema, chunk_name)::regclass),
    pg_total_relation_size(format('%I.%I', chunk_schema, chunk_name)::regclass)
from timescaledb_information.chunks
order by 1, range_start
"""
VERSIONS = "select timestamp, instrument, xmin::text, ctid::text from perpetuals_ohlcv order by 1, 2"
BATCH = "where name = 'timescaledb.compression_batch_size_limit'"


@pytest.fixture(scope="module")
def project(warm: DbtProject) -> DbtProject:
    warm.start_anew()
    warm.land("900000000.5", history())
    warm.build(*MODELS)
    keep_up(warm)
    return warm


@pytest.fixture
def columnstore(project: DbtProject) -> DbtProject:
    if project.query("show timescaledb.license") != [("timescale",)]:
        pytest.skip("this server is of the Apache edition, which has no columnstore")
    return project


def history() -> list[Candle]:
    """Return an hour of every week, so that there are many chunks and few rows."""
    week = 7 * 1440
    return [one for number in range(WEEKS) for one in candles(number * week, number * week + 60)]


def keep_up(project: DbtProject, **variables: Any) -> str:
    outcome = project.run("run-operation", "upkeep", *(("--vars", str(variables)) if variables else ()))
    assert outcome.success, outcome.output
    return outcome.output


def statuses(project: DbtProject, table: str) -> list[int]:
    return [status for name, _, status, _ in project.query(CHUNKS) if name == table]


def test_a_build_and_upkeep_of_nothing_new_change_no_row_no_chunk_and_no_setting(project):
    looks = [INTERVALS, OPTIONS, POLICIES, CHUNKS]
    if set(statuses(project, "perpetuals_ohlcv")) == {0}:
        looks.append(VERSIONS)  # a compressed row has none; it would leave its batch, and change its chunk
    before = [project.query(look) for look in looks]
    assert all(before[0::3])
    project.build(*MODELS)
    keep_up(project)
    assert [project.query(look) for look in looks] == before


def test_without_a_columnstore_there_are_no_policies_and_the_same_candles(project):
    if project.query("show timescaledb.license") == [("timescale",)]:
        pytest.skip("this server is of the Community edition, which has a columnstore")
    assert project.query(POLICIES) == []
    assert project.query(OPTIONS) == []
    assert set(statuses(project, "perpetuals_ohlcv")) == {0}
    assert project.query("select count(*) from perpetuals_ohlcv") == [(WEEKS * 60,)]


def test_options_and_policies_are_those_of_the_variables(columnstore):
    assert columnstore.query(OPTIONS) == [
        ("deribit_raw.candles", "instrument,resolution", '"timestamp",_dlt_load_id', timedelta(days=420)),
        ("perpetuals_ohlcv", "instrument", '"timestamp"', timedelta(days=420)),
    ]
    after = [(table, wait) for table, _, wait in columnstore.query(POLICIES)]
    assert after == [("candles", timedelta(days=7)), ("perpetuals_ohlcv", timedelta(days=7))]
    batch = columnstore.query(f"select setting, least(max_val::integer, 10080) from pg_settings {BATCH}")
    assert [int(held) for held, _ in batch] == [wanted for _, wanted in batch]


def test_changed_variables_change_policies_and_nothing_else(columnstore):
    before = columnstore.query(POLICIES)
    keep_up(columnstore, columnstore_after="21 days")
    changed = columnstore.query(POLICIES)
    assert {wait for *_, wait in changed} == {timedelta(days=21)}
    assert {job for _, job, _ in changed}.isdisjoint({job for _, job, _ in before})
    keep_up(columnstore, columnstore=False)
    assert columnstore.query(POLICIES) == []
    keep_up(columnstore)
    assert [each[::2] for each in columnstore.query(POLICIES)] == [each[::2] for each in before]


def test_old_chunks_are_compressed_in_order_and_merged_and_the_candles_stay(columnstore):
    assert [statuses(columnstore, table) for table in ("perpetuals_ohlcv", "candles")] == [[1], [1]]
    held = columnstore.query("select count(*), min(timestamp), max(timestamp) from perpetuals_ohlcv")
    assert held == [(WEEKS * 60, minute(0), minute((WEEKS - 1) * 7 * 1440 + 59))]


def test_a_late_candle_opens_one_batch_and_upkeep_closes_it_again(columnstore):
    late = [Candle(minute(3), close=99.0), Candle(minute(200), close=98.0)]
    columnstore.land("1700000000.5", late)
    columnstore.build(*MODELS)
    opened = [name for _, name, status, _ in columnstore.query(CHUNKS) if status != 1]
    assert len(opened) == 2, "one chunk of each table"
    keep_up(columnstore)
    assert {status for *_, status, _ in columnstore.query(CHUNKS)} == {1}
    at = f"timestamp in ('{minute(3)}', '{minute(200)}')"
    held = columnstore.query(f"select timestamp, close from perpetuals_ohlcv where {at} order by 1")
    assert held == [(minute(3), Decimal(99)), (minute(200), Decimal(98))]
    assert columnstore.query("select count(*) from perpetuals_ohlcv") == [(WEEKS * 60 + 1,)]


def test_what_a_killed_load_left_is_removed_without_opening_compressed_chunks(columnstore):
    keep_up(columnstore)
    before = columnstore.query(CHUNKS)
    with columnstore.database.reading() as cursor:
        assert cleaning.sweep(cursor.connection) == 0
        assert columnstore.query(CHUNKS) == before
        columnstore.land("9100000000.5", [Candle(minute(5), close=1.0)], complete=False)
        assert cleaning.sweep(cursor.connection) == 2, "the candle and its fetch"
    assert columnstore.query("select count(*) from deribit_raw.candles where close = 1") == [(0,)]


def test_settings_of_a_table_that_somebody_holds_are_left_for_the_next_upkeep(project):
    project.query("select set_chunk_time_interval('deribit_raw.candles', interval '5 days')")
    with project.holding("select set_chunk_time_interval('deribit_raw.candles', interval '6 days')"):
        said = keep_up(project)
    assert "in use, left for the next upkeep: select set_chunk_time_interval('deribit_raw.candles'" in said
    assert dict(project.query(INTERVALS))["deribit_raw.candles"] == timedelta(days=5)
    assert "left for" not in keep_up(project)
    assert dict(project.query(INTERVALS))["deribit_raw.candles"] == timedelta(days=30)


def test_upkeep_beside_a_copy_does_not_wait_for_it(columnstore):
    with columnstore.holding("lock table deribit_raw.candles in row exclusive mode"):
        said = keep_up(columnstore, columnstore_merge="840 days")
    assert "in use, left for the next upkeep: alter table deribit_raw.candles" in said
    assert "left for" not in keep_up(columnstore)


def test_another_target_leaves_raw_alone(project):
    project.query("select set_chunk_time_interval('deribit_raw.candles', interval '5 days')")
    keep_up(DbtProject(project.database, project.work / "dev", target="dev"))
    assert dict(project.query(INTERVALS))["deribit_raw.candles"] == timedelta(days=5)
    keep_up(project)
    assert dict(project.query(INTERVALS))["deribit_raw.candles"] == timedelta(days=30)


def test_chunk_intervals_follow_the_variables(project):
    """The last one, because it leaves the server changed."""
    keep_up(project, chunk_interval="14 days", columnstore_chunk_interval="14 days")
    assert dict(project.query(INTERVALS))["public.perpetuals_ohlcv"] == timedelta(days=14)
