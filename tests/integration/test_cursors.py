"""Cursors, history, debts and what must never land, with small ranges and a `Loader` in this process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from dlt.common.runtime import anon_tracker

from extract.core.resolution import DAY_MS, MINUTE_MS, RESOLUTIONS
from extract.database import cleaning, locks, raw_tables
from extract.database.database import Database, DatabaseError
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Listed
from extract.errors import PerpsError
from extract.load.loader import Loader
from extract.load.result import IncompleteError
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.support.truth import control, rows

ONE = RESOLUTIONS["1"]
BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
JAN = 1_704_067_200_000  # 2024-01-01
NOW = "2024-01-31T00:00:30Z"


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock=NOW, requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture(autouse=True)
def calm(exchange: RunningSimulator) -> None:
    control(exchange.base_url, "clock", {"now": NOW})
    control(exchange.base_url, "faults", [])
    exchange.simulator.log.clear()


@pytest.fixture
def load(database: Database, exchange: RunningSimulator, tmp_path: Path) -> Callable[..., Loader]:
    def make(**changes) -> Loader:
        client = DeribitClient(exchange.base_url, TokenBucket(1000, 100), attempts=3, sleep=lambda _: None)
        return Loader(client, changes.pop("database", database), tmp_path / "pipelines", **changes)

    return make


def ticks(database: Database, instrument: str = BTC) -> list[int]:
    """Return the distinct minutes landed by complete loads, counted from 1 January."""
    found = rows(
        database,
        'select distinct (extract(epoch from "timestamp") * 1000)::bigint from deribit_raw.candles'
        " where instrument = %s and _dlt_load_id not in"
        " (select load_id from deribit_raw._dlt_loads where status <> 0) order by 1",
        instrument,
    )
    return [(tick - JAN) // MINUTE_MS for (tick,) in found]


def days(start: float, end: float) -> tuple[int, int]:
    return JAN + int(start * DAY_MS), JAN + int(end * DAY_MS)


def minutes(start: float, end: float) -> list[int]:
    return list(range(int(start * 1440), int(end * 1440)))


def test_the_forming_candle_never_lands(load, database, exchange):
    load().backfill([BTC], ONE, days(29.5, 60))
    assert ticks(database)[-1] == 30 * 1440 - 1
    control(exchange.base_url, "clock", {"now": "2024-01-31T00:01:59Z"})
    load().update([], ONE)
    assert ticks(database)[-1] == 30 * 1440


def test_an_update_asks_again_for_the_look_back_and_no_more(load, database, exchange):
    load().backfill([BTC], ONE, days(29, 60))
    control(exchange.base_url, "clock", {"now": "2024-01-31T01:00:00Z"})
    result = load(lookback=10).update([], ONE)
    assert rows(database, "select rows, new_rows from deribit_raw.fetches where rows < 100") == [(70, 60)]
    assert result.requests == 1


def test_history_before_the_first_loaded_candle_can_be_filled(load, database):
    load().backfill([BTC], ONE, days(20, 25))
    load().backfill([BTC], ONE, days(10, 20))
    assert ticks(database) == minutes(10, 25)
    load().update([], ONE)
    assert ticks(database) == minutes(10, 30)


def test_a_range_beyond_the_cursor_does_not_hide_what_lies_between(load, database):
    load().backfill([BTC], ONE, days(1, 2))
    load().backfill([BTC], ONE, days(20, 21))
    load().update([], ONE)
    assert ticks(database) == minutes(1, 30)


def test_each_instrument_has_a_cursor_of_its_own(load, database):
    load().backfill([BTC], ONE, days(25, 30))
    load().backfill([ETH], ONE, days(20, 22))
    load().update([], ONE)
    assert ticks(database, BTC) == minutes(25, 30)
    assert ticks(database, ETH) == minutes(20, 30)


def test_an_instrument_listed_later_starts_at_its_listing(load, database, exchange):
    control(exchange.base_url, "clock", {"now": "2022-03-20T00:00:00Z"})
    result = load().backfill(["SOL_USDC-PERPETUAL"], ONE, (0, 2**53))
    assert result.requests <= 4
    first = rows(database, 'select min("timestamp")::text from deribit_raw.candles')
    assert first == [("2022-03-15 13:00:00+00",)]


def test_a_window_without_an_answer_is_named_and_the_others_are_saved(load, database, exchange):
    fault = {"kind": "http", "status": 502, "start": "2024-01-08", "end": "2024-01-09"}
    control(exchange.base_url, "faults", [fault])
    with pytest.raises(
        IncompleteError, match=r"BTC-PERPETUAL 2024-01-0.*http 502.*run the same command again"
    ):
        load().backfill([BTC], ONE, days(1, 30))
    missing = set(minutes(1, 30)) - set(ticks(database))
    assert set(minutes(7, 8)) <= missing
    assert len(missing) <= 10_000
    control(exchange.base_url, "faults", [])
    exchange.simulator.log.clear()
    load().update([], ONE)
    assert ticks(database) == minutes(1, 30)
    asked = [entry for entry in exchange.simulator.log if entry.method == "get_tradingview_chart_data"]
    assert len(asked) <= 3


def test_a_debt_outlives_the_working_folder(load, database, exchange, tmp_path):
    control(exchange.base_url, "faults", [{"kind": "reset", "start": "2024-01-08", "end": "2024-01-09"}])
    with pytest.raises(IncompleteError):
        load().backfill([BTC], ONE, days(1, 30))
    control(exchange.base_url, "faults", [])
    shutil.rmtree(tmp_path / "pipelines")
    load().update([], ONE)
    assert ticks(database) == minutes(1, 30)


def test_a_load_leaves_no_files_and_reports_to_nobody(load, database, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    load().backfill([BTC], ONE, days(29, 30))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert anon_tracker._ANON_TRACKER_ENDPOINT is None


def test_a_lost_working_folder_changes_nothing(load, database, exchange, tmp_path):
    load().backfill([BTC], ONE, days(20, 60))
    shutil.rmtree(tmp_path / "pipelines")
    control(exchange.base_url, "clock", {"now": "2024-01-31T01:00:00Z"})
    assert load().update([], ONE).candles == {BTC: 60}


def test_a_database_made_anew_starts_anew(load, database, server):
    load().backfill([BTC], ONE, days(20, 60))
    server.drop_database(database.dbname)
    server.create_database(database.dbname)
    load().backfill([BTC], ONE, days(29, 30))
    assert ticks(database) == minutes(29, 30)


def test_replies_cut_to_fewer_rows_than_asked_leave_no_hole(load, database, exchange):
    control(exchange.base_url, "faults", [{"kind": "max_rows", "rows": 700}])
    load().backfill([BTC], ONE, days(25, 30))
    assert ticks(database) == minutes(25, 30)


def test_a_first_candle_that_is_missing_from_replies_is_no_hole(load, database, exchange):
    control(exchange.base_url, "faults", [{"kind": "drop_first", "rows": 1}])
    load().backfill([BTC], ONE, days(25, 30))
    assert ticks(database) == minutes(25, 30)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "http", "status": 429, "retry_after": 1},
        {"kind": "error", "code": 10028, "status": 200},
        {"kind": "error", "code": 10041, "status": 400},
        {"kind": "http", "status": 200},
        {"kind": "reset"},
        {"kind": "truncated"},
        {"kind": "content_length"},
        {"kind": "unequal"},
        {"kind": "duplicate_tick"},
        {"kind": "unordered"},
        {"kind": "status"},
        {"kind": "off_grid"},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
def test_a_passing_fault_is_retried_without_a_trace(load, database, exchange, fault):
    control(exchange.base_url, "faults", [fault | {"times": 2, "per_window": True}])
    load().backfill([BTC], ONE, days(28, 30))
    assert ticks(database) == minutes(28, 30)


def test_an_exchange_that_is_slower_than_the_budget_slows_the_run_down(load, database):
    with running(SimulatorConfig(clock=NOW, requests_per_second=6, burst=3)) as strict:
        loader = load()
        client = DeribitClient(strict.base_url, TokenBucket(50, 20))
        result = replace(loader, client=client).backfill([BTC], ONE, days(-35, 30))
        assert any(entry.limited for entry in strict.simulator.log)
    assert ticks(database) == minutes(-35, 30)
    assert result.failed == []


def test_coarse_candles_have_cursors_of_their_own(load, database):
    load().backfill([BTC], ONE, days(29, 30))
    load().backfill([BTC], RESOLUTIONS["1D"], days(-30, 60))
    counted = rows(
        database,
        'select resolution, count(*), min("timestamp")::text from deribit_raw.candles group by 1 order by 1',
    )
    assert counted == [("1", 1440, "2024-01-30 00:00:00+00"), ("1D", 59, "2023-12-02 08:00:00+00")]


def test_an_api_that_answers_no_chart_on_a_fresh_database_is_owed_all(load, database, exchange):
    control(exchange.base_url, "faults", [{"kind": "http", "status": 500}])
    with pytest.raises(IncompleteError, match="http 500"):
        load().backfill([BTC], ONE, days(28, 30))
    control(exchange.base_url, "faults", [])
    load().update([], ONE)
    assert ticks(database) == minutes(28, 30)


def test_a_plan_that_is_given_up_is_completed_by_the_next_update(load, database, exchange):
    load().backfill([BTC], ONE, days(29, 30))
    control(exchange.base_url, "faults", [{"kind": "reset", "start": "2023-06-01", "end": "2024-02-01"}])
    with pytest.raises(IncompleteError, match=r"\d+ windows were not asked"):
        load().backfill([BTC], ONE, days(-120, 29))
    control(exchange.base_url, "faults", [])
    load().update([], ONE)
    assert ticks(database) == minutes(-120, 30)


def test_a_first_package_before_listing_holds_nothing_and_does_no_harm(load, database, exchange):
    control(exchange.base_url, "clock", {"now": "2022-03-15T13:30:00Z"})
    load(package_candles=1000).backfill(["SOL_USDC-PERPETUAL"], ONE, (0, 2**53))
    assert rows(database, "select count(*) from deribit_raw.candles") == [(30,)]


def test_candles_older_than_the_listing_date_are_found(load, database, exchange, monkeypatch):
    loader = load()
    listed = loader.client.instruments().perpetuals
    late = Listed([replace(found, created_ms=JAN + 20 * DAY_MS) for found in listed], [])
    monkeypatch.setattr(loader.client, "instruments", lambda: late)
    loader.backfill([BTC], ONE, days(0, 60))
    assert ticks(database) == minutes(0, 30)


def test_a_load_that_is_not_whole_in_the_database_does_not_count(load, database, monkeypatch):
    load().backfill([BTC], ONE, days(28, 29))
    counted = raw_tables.candles_in_load
    monkeypatch.setattr(raw_tables, "candles_in_load", lambda *args: counted(*args) - 1)
    with pytest.raises(PerpsError, match="that load does not count"):
        load().update([], ONE)
    monkeypatch.undo()
    complete = "select count(*) from deribit_raw._dlt_loads where status = 0"
    assert rows(database, complete) == [(1,)]
    load().update([], ONE)
    assert rows(database, complete) == [(2,)]
    assert ticks(database) == minutes(28, 30)


def test_a_clock_behind_the_last_load_is_refused(load, database):
    load().backfill([BTC], ONE, days(29, 30))
    opened = database.connect()
    with opened.cursor() as cursor:
        for status in (1, 0):
            cursor.execute(
                f"insert into deribit_raw._dlt_loads values ('99999999999.5', 'deribit', {status}, now(), '')"
            )
    opened.close()
    with pytest.raises(PerpsError, match="set this machine's clock"):
        load().update([], ONE)


def test_a_password_file_is_enough(load, database, tmp_path, monkeypatch):
    file = tmp_path / "pgpass"
    file.write_text(f"{database.host}:{database.port}:*:{database.user}:{database.password}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    load(database=replace(database, password="")).backfill([BTC], ONE, days(29, 30))
    assert ticks(database) == minutes(29, 30)


def test_instruments_are_kept_once_until_they_change(load, database, exchange):
    load().backfill([BTC], ONE, days(29, 29.5))
    listed = len(load().client.instruments().perpetuals)
    assert listed > 5
    assert rows(database, "select count(*) from deribit_raw.instruments") == [(listed,)]
    load().update([], ONE)
    assert rows(database, "select count(*) from deribit_raw.instruments") == [(listed,)]


def test_every_complete_package_is_told(load, database):
    complete = "select count(*) from deribit_raw._dlt_loads where status = 0"
    told = []
    loader = load(
        package_candles=5000, landed=lambda candles: told.append((candles, rows(database, complete)[0][0]))
    )
    loader.backfill([BTC], ONE, days(20, 25))
    assert told == [(5000, 1), (2200, 2)]
    assert ticks(database) == minutes(20, 25)


def test_a_minute_of_more_perpetuals_than_a_byte_can_number_lands_in_one_package(load, database):
    with running(SimulatorConfig(clock=NOW, requests_per_second=None, extra_instruments=500)) as simulated:
        client = DeribitClient(simulated.base_url, TokenBucket(1000, 100))
        now = JAN + 30 * DAY_MS
        result = replace(load(), client=client).backfill(["all"], ONE, (now - MINUTE_MS, now))
    assert len(result.candles) > 128
    count = "count(*), count(distinct instrument), count(distinct _dlt_load_id)"
    found = rows(database, f"select {count} from deribit_raw.candles")
    assert found == [(len(result.candles), len(result.candles), 1)]


def test_a_second_run_at_the_same_time_is_refused(load, database):
    with locks.run_lock(database), pytest.raises(PerpsError, match="found another at work"):
        load().backfill([BTC], ONE, days(29, 30))
    load().backfill([BTC], ONE, days(29, 30))


def test_the_lock_is_free_before_the_server_notices_that_a_connection_closed(database, monkeypatch):
    unnoticed = []

    class Lingering(psycopg2.extensions.connection):
        def close(self) -> None:
            unnoticed.append(self)

    connect = psycopg2.connect
    monkeypatch.setattr(
        "psycopg2.connect", lambda **arguments: connect(connection_factory=Lingering, **arguments)
    )
    with locks.run_lock(database):
        pass
    with locks.run_lock(database):
        assert len(unnoticed) == 1
    for opened in unnoticed:
        psycopg2.extensions.connection.close(opened)


def test_a_database_without_timescaledb_says_what_to_run(load, server):
    admin = server.database("postgres", "postgres").connect()
    with admin.cursor() as cursor:
        cursor.execute("drop database if exists plain")
        cursor.execute("create database plain owner perps")
    admin.close()
    with pytest.raises(PerpsError, match="create extension timescaledb"):
        load(database=server.database(dbname="plain")).backfill([BTC], ONE, days(29, 30))


def test_synthetic_candles_cannot_join_market_candles(load, database, monkeypatch):
    load().backfill([BTC], ONE, days(29, 30))
    monkeypatch.setattr("extract.deribit.replies._origin", lambda *_: "live")
    with pytest.raises(PerpsError, match="expected simulator candles"):
        load().update([], ONE)
    assert ticks(database) == minutes(29, 30)


def test_a_load_starts_no_process_that_could_outlive_it_and_hold_its_lock(load, monkeypatch):
    def refuse():
        raise AssertionError("a process was forked: it holds every connection of a load that is killed")

    monkeypatch.setenv("WORKERS", "2")  # dlt believes it where nothing is said of its own
    monkeypatch.setattr(os, "fork", refuse)
    assert load().backfill([BTC], ONE, days(1, 1.1)).landed


def test_a_session_that_is_lost_before_anything_is_asked_ends_the_load_with_one_line(
    load, database, monkeypatch
):
    def end_session(opened):
        rows(database, "select pg_terminate_backend(%s)", opened.info.backend_pid)
        return before(opened)

    load().backfill([BTC], ONE, days(1, 1.1))
    before = cleaning.sweep
    monkeypatch.setattr(cleaning, "sweep", end_session)
    with pytest.raises(DatabaseError, match=r"expected an answer from database .*run the same command again"):
        load().update([], ONE)
    monkeypatch.setattr(cleaning, "sweep", before)
    load().update([], ONE)
    assert ticks(database)[-1] == 30 * 1440 - 1
