"""Merging old loads leaves every table as it was, and bookkeeping that does not grow with the runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extract import landing
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.merging import merge_loads
from extract.pipeline import Loader
from extract.resolution import RESOLUTIONS
from extract.server.connection import Connection
from extract.simulator import RunningSimulator, SimulatorConfig, running
from extract.times import parse_range
from tests.integration.dbt_harness import DbtProject
from tests.integration.truth import checksum, control, rows, table, truth

ONE = RESOLUTIONS["1"]
NAMES = ["BTC-PERPETUAL", "ETH-PERPETUAL"]
START, CLOCK, END = "2024-01-01T00:00:00Z", "2024-01-02T12:00:00Z", "2024-01-02T14:00:00Z"
FAULTS = [
    {"kind": "revision", "instrument": NAMES[0], "at": "2024-01-02T12:26Z", "since": "2024-01-02T12:31Z"}
    | {"values": {"volume": 77.0}},
    {"kind": "outage", "instrument": NAMES[1], "start": "2024-01-02T12:15Z", "end": "2024-01-02T12:18Z"},
]
PER_RUN = ("deribit_raw._dlt_loads", "deribit_raw.fetches", "deribit_raw._dlt_pipeline_state")
PER_RUN += ("quality.loaded_days", "quality.consumed_loads")

# what a person reads: nothing of it may depend on which load a candle is in by now
READ = {
    "candles": 'select instrument, "timestamp", open, high, low, close, volume from perpetuals_ohlcv',
    "days": "select instrument, day, candles, expected, fills, volume, missing::text from quality.ohlcv_days",
    "gaps": "select instrument, gap_start, gap_end, reason, last_asked from quality.ohlcv_gaps",
    "revisions": 'select instrument, "timestamp", old_volume, new_volume, load_id, revised_at'
    " from quality.ohlcv_revisions",
    "raw": 'select distinct instrument, resolution, "timestamp", open, high, low, close, volume, cost'
    " from deribit_raw.candles",
    "rollups": "select * from perpetuals_ohlcv_5m union all select * from perpetuals_ohlcv_1d_settlement",
    "instruments": "select instrument, seen_at from deribit_raw.instruments",
}


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock=CLOCK, requests_per_second=None)) as simulated:
        control(simulated.base_url, "faults", FAULTS)
        yield simulated


@pytest.fixture(scope="module")
def loader(module_database: Connection, exchange: RunningSimulator, tmp_path_factory) -> Loader:
    client = DeribitClient(exchange.base_url, TokenBucket(1000, 100), attempts=3, sleep=lambda _: None)
    return Loader(client, module_database, tmp_path_factory.mktemp("work") / "pipelines")


@pytest.fixture(scope="module")
def later(loader: Loader, exchange: RunningSimulator) -> Callable[[int], None]:
    def pass_and_update(minutes: int) -> None:
        control(exchange.base_url, "clock", {"advance_ms": minutes * 60_000})
        loader.update([], ONE)

    return pass_and_update


@pytest.fixture(scope="module")
def grown(loader: Loader, later: Callable[[int], None], warm: DbtProject) -> DbtProject:
    """A backfill, ten updates with a hole and a revision among them, and a day of history; all built."""
    loader.backfill(NAMES, ONE, parse_range("2024-01-01T06:00", None))
    for number in range(10):
        later(7)
        if number == 5:
            warm.build(rollups=True)
    loader.backfill(NAMES, ONE, parse_range("2024-01-01", "2024-01-01T06:00"))
    warm.build(rollups=True)
    return warm


def read(database: Connection) -> dict[str, Any]:
    return {what: sorted(rows(database, query), key=str) for what, query in READ.items()}


def sizes(database: Connection) -> dict[str, int]:
    return {name: rows(database, f"select count(*) from {name}")[0][0] for name in PER_RUN}


def raw_rows(database: Connection) -> int:
    return rows(database, "select count(*) from deribit_raw.candles")[0][0]


def test_what_people_read_is_the_same_after_a_merge(grown, module_database):
    before, books, raw = read(module_database), sizes(module_database), raw_rows(module_database)
    assert [reason for *_, reason, _ in before["gaps"]] == ["source"]
    assert len(before["revisions"]) == 1
    assert merge_loads(module_database, keep=2, worth=1) >= 6
    assert read(module_database) == before
    after = sizes(module_database)
    assert all(after[name] < books[name] for name in PER_RUN), (books, after)
    # the look-back that is left: of the loads that were kept, and of the one with the revision
    assert raw - raw_rows(module_database) >= 6 * 10 * len(NAMES)
    audit = grown.run("test", "--select", "tag:audit")
    assert audit.success, audit.output


def test_later_loads_and_builds_go_on_from_there(grown, later, exchange, module_database):
    merge_loads(module_database, keep=2, worth=1)
    written = "select max(xmin::text::bigint) from perpetuals_ohlcv where \"timestamp\" < '2024-01-02T12:00Z'"
    before = rows(module_database, written)
    later(10)
    grown.build(rollups=True)
    assert rows(module_database, written) == before, "old candles were written again"
    for instrument in NAMES:
        assert table(module_database, instrument) == truth(exchange.base_url, instrument, START, END)
    assert merge_loads(module_database, keep=0, worth=1) >= 1
    assert grown.run("test", "--select", "tag:audit").success
    grown.query("drop table perpetuals_ohlcv cascade")
    grown.build(rollups=True)
    for instrument in NAMES:
        assert table(module_database, instrument) == truth(exchange.base_url, instrument, START, END)


def test_a_revision_of_a_candle_in_a_merged_load_is_seen(grown, loader, exchange, module_database):
    merge_loads(module_database, keep=0, worth=0)
    change = {"kind": "bad_candle", "instrument": NAMES[0], "at": "2024-01-02T12:20:00Z"}
    control(exchange.base_url, "faults", [*FAULTS, change | {"values": {"volume": 5.0}}])
    loader.backfill(NAMES, ONE, parse_range("2024-01-02T12:00", "2024-01-02T13:00"))
    control(exchange.base_url, "faults", FAULTS)
    grown.build(rollups=True)
    found = rows(
        module_database,
        "select new_volume::text from quality.ohlcv_revisions where \"timestamp\" = '2024-01-02T12:20Z'",
    )
    assert found == [("5.00000000",)]
    loads = rows(module_database, "select load_id from quality.ohlcv_revisions")
    merge_loads(module_database, keep=0, worth=0)
    assert rows(module_database, "select load_id from quality.ohlcv_revisions") == loads
    assert grown.run("test", "--select", "tag:audit").success


def test_loads_that_dbt_has_not_read_are_not_merged(grown, later, module_database):
    merge_loads(module_database, keep=0, worth=0)
    for _ in range(3):
        later(1)
    complete = "select load_id from deribit_raw._dlt_loads order by load_id::numeric desc limit 3"
    unread = rows(module_database, complete)
    merge_loads(module_database, keep=0, worth=0)
    assert rows(module_database, complete) == unread


def test_nothing_is_merged_while_something_builds(grown, later, module_database):
    for _ in range(3):
        later(1)
    grown.build(rollups=True)
    with landing.run_lock(module_database, landing.BUILD_LOCK):
        assert merge_loads(module_database, keep=0, worth=0) == 0
    plain_dbt = module_database.connect(autocommit=False)
    with plain_dbt.cursor() as cursor:
        cursor.execute(
            "select pg_advisory_xact_lock(hashtext('quality.consumed_loads'), hashtext('ohlcv_days'))"
        )
        assert merge_loads(module_database, keep=0, worth=0) == 0
    plain_dbt.close()
    assert merge_loads(module_database, keep=0, worth=0) > 0


def test_a_merge_that_fails_changes_nothing_and_no_run_fails_for_it(grown, later, module_database, caplog):
    for _ in range(3):
        later(1)
    grown.build(rollups=True)
    before, books = checksum(module_database), sizes(module_database)
    grown.query(
        "create function refuse() returns trigger language plpgsql as 'begin raise ''no''; end';"
        "create trigger refuse before delete on deribit_raw._dlt_loads execute function refuse()"
    )
    assert merge_loads(module_database, keep=0, worth=0) == 0
    assert "could not merge old loads" in caplog.text
    grown.query("drop trigger refuse on deribit_raw._dlt_loads; drop function refuse()")
    assert (checksum(module_database), sizes(module_database)) == (before, books)
    assert merge_loads(module_database, keep=0, worth=0) > 0


def test_a_database_that_dbt_never_saw_is_left_alone(loader, database, tmp_path: Path):
    fresh = Loader(loader.client, database, tmp_path / "pipelines")
    fresh.backfill(NAMES, ONE, parse_range("2024-01-01", "2024-01-01T01:00"))
    fresh.update([], ONE)
    assert merge_loads(database, keep=0, worth=0) == 0
