"""Cursors, history, debts and what must never land, with small ranges and a `Loader` in this process."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from extract.core.resolution import DAY_MS, MINUTE_MS, RESOLUTIONS
from extract.database import cleaning, locks, raw_tables
from extract.database.database import DatabaseError
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Listed
from extract.errors import PerpsError
from extract.load.endpoint import candles
from extract.load.result import IncompleteError
from tests.support.exchange import BTC, ETH, charts, set_clock, set_faults, simulated
from tests.support.loading import JAN, MINUTES, NOW, days, impatient, minutes, ticks
from tests.support.private import let_connections_linger, telemetry_of_dlt
from tests.support.truth import execute, rows

EXCHANGE = {"clock": NOW}
COMPLETE = "select count(*) from deribit_raw._dlt_loads where status = 0"


def test_the_forming_candle_never_lands(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(29.5, 60))
    assert ticks(database)[-1] == 30 * 1440 - 1
    set_clock(exchange, "2024-01-31T00:01:59Z")
    load().update([], [MINUTES])
    assert ticks(database)[-1] == 30 * 1440


def test_an_update_asks_again_for_the_look_back_and_no_more(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(29, 60))
    set_clock(exchange, "2024-01-31T01:00:00Z")
    result = load(lookback=10).update([], [MINUTES])
    assert rows(database, "select rows, new_rows from deribit_raw.fetches where rows < 100") == [(70, 60)]
    assert result.requests == 1


def test_history_before_the_first_loaded_candle_can_be_filled(load, database):
    load().backfill([BTC], [MINUTES], days(20, 25))
    load().backfill([BTC], [MINUTES], days(10, 20))
    assert ticks(database) == minutes(10, 25)
    load().update([], [MINUTES])
    assert ticks(database) == minutes(10, 30)


def test_each_instrument_has_a_cursor_of_its_own(load, database):
    load().backfill([BTC], [MINUTES], days(25, 30))
    load().backfill([ETH], [MINUTES], days(20, 22))
    load().update([], [MINUTES])
    assert ticks(database, BTC) == minutes(25, 30)
    assert ticks(database, ETH) == minutes(20, 30)


def test_an_instrument_listed_later_starts_at_its_listing(load, database, exchange):
    set_clock(exchange, "2022-03-20T00:00:00Z")
    result = load().backfill(["SOL_USDC-PERPETUAL"], [MINUTES], (0, 2**53))
    assert result.requests <= 4
    first = rows(database, 'select min("timestamp")::text from deribit_raw.candles')
    assert first == [("2022-03-15 13:00:00+00",)]


def test_a_window_without_an_answer_is_named_and_owed_even_where_the_working_folder_is_lost(
    load, database, exchange, tmp_path
):
    fault = {"kind": "http", "status": 502, "start": "2024-01-08", "end": "2024-01-09"}
    set_faults(exchange, fault)
    with pytest.raises(IncompleteError, match=r"BTC-PERPETUAL 2024-01-0.*http 502.*again"):
        load().backfill([BTC], [MINUTES], days(1, 30))
    missing = set(minutes(1, 30)) - set(ticks(database))
    assert set(minutes(7, 8)) <= missing
    assert len(missing) <= 10_000
    set_faults(exchange)
    shutil.rmtree(tmp_path / "pipelines")
    exchange.simulator.log.clear()
    load().update([], [MINUTES])
    assert ticks(database) == minutes(1, 30)
    assert len(charts(exchange)) <= 3


def test_a_load_leaves_no_files_and_reports_to_nobody(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    load().backfill([BTC], [MINUTES], days(29, 30))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert telemetry_of_dlt() is None


def test_a_database_made_anew_starts_anew(load, database, server):
    load().backfill([BTC], [MINUTES], days(20, 60))
    server.drop_database(database.dbname)
    server.create_database(database.dbname)
    load().backfill([BTC], [MINUTES], days(29, 30))
    assert ticks(database) == minutes(29, 30)


def test_an_exchange_that_is_slower_than_the_budget_slows_the_run_down(load, database):
    with simulated(clock=NOW, requests_per_second=6, burst=3) as strict:
        client = DeribitClient(strict.base_url, TokenBucket(50, 20))
        result = load(client=client).backfill([BTC], [MINUTES], days(-35, 30))
        assert any(entry.limited for entry in strict.simulator.log)
    assert ticks(database) == minutes(-35, 30)
    assert result.failed == []


def test_coarse_candles_have_cursors_of_their_own(load, database):
    load().backfill([BTC], [MINUTES], days(29, 30))
    load().backfill([BTC], [candles(RESOLUTIONS["1D"])], days(-30, 60))
    counted = rows(
        database,
        'select resolution, count(*), min("timestamp")::text from deribit_raw.candles group by 1 order by 1',
    )
    assert counted == [("1", 1440, "2024-01-30 00:00:00+00"), ("1D", 59, "2023-12-02 08:00:00+00")]


def test_an_api_that_answers_no_chart_on_a_fresh_database_is_owed_all(load, database, exchange):
    set_faults(exchange, {"kind": "http", "status": 500})
    with pytest.raises(IncompleteError, match="http 500"):
        load().backfill([BTC], [MINUTES], days(28, 30))
    set_faults(exchange)
    load().update([], [MINUTES])
    assert ticks(database) == minutes(28, 30)


def test_a_plan_that_is_given_up_is_completed_by_the_next_update(load, database, exchange):
    load().backfill([BTC], [MINUTES], days(29, 30))
    set_faults(exchange, {"kind": "reset", "start": "2023-06-01", "end": "2024-02-01"})
    with pytest.raises(IncompleteError, match=r"\d+ windows were not requested"):
        load().backfill([BTC], [MINUTES], days(-120, 29))
    set_faults(exchange)
    load().update([], [MINUTES])
    assert ticks(database) == minutes(-120, 30)


def test_a_first_package_before_listing_holds_nothing_and_does_no_harm(load, database, exchange):
    set_clock(exchange, "2022-03-15T13:30:00Z")
    load(load_candles=1000).backfill(["SOL_USDC-PERPETUAL"], [MINUTES], (0, 2**53))
    assert rows(database, "select count(*) from deribit_raw.candles") == [(30,)]


def test_candles_older_than_the_listing_date_are_found(load, database, monkeypatch):
    loader = load()
    listed = loader.client.instruments().perpetuals
    late = Listed([replace(found, created_ms=JAN + 20 * DAY_MS) for found in listed], [])
    monkeypatch.setattr(loader.client, "instruments", lambda: late)
    loader.backfill([BTC], [MINUTES], days(0, 60))
    assert ticks(database) == minutes(0, 30)


def test_a_load_that_is_not_whole_in_the_database_does_not_count(load, database, monkeypatch):
    load().backfill([BTC], [MINUTES], days(28, 29))
    counted = raw_tables.rows_in_load
    with monkeypatch.context() as patched:
        patched.setattr(raw_tables, "rows_in_load", lambda *args: counted(*args) - 1)
        with pytest.raises(PerpsError, match="that load does not count"):
            load().update([], [MINUTES])
    assert rows(database, COMPLETE) == [(1,)]
    load().update([], [MINUTES])
    assert rows(database, COMPLETE) == [(2,)]
    assert ticks(database) == minutes(28, 30)


def test_a_clock_behind_the_last_load_is_refused(load, database):
    load().backfill([BTC], [MINUTES], days(29, 30))
    enter = "insert into deribit_raw._dlt_loads values ('99999999999.5', 'deribit', {}, now(), '')"
    execute(database, enter.format(1), enter.format(0))
    with pytest.raises(PerpsError, match="clock"):
        load().update([], [MINUTES])


def test_a_password_file_is_enough(load, database, tmp_path, monkeypatch):
    file = tmp_path / "pgpass"
    file.write_text(f"{database.host}:{database.port}:*:{database.user}:{database.password}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    load(database=replace(database, password="")).backfill([BTC], [MINUTES], days(29, 30))
    assert ticks(database) == minutes(29, 30)


def test_instruments_are_kept_once_until_they_change(load, database):
    load().backfill([BTC], [MINUTES], days(29, 29.5))
    listed = len(load().client.instruments().perpetuals)
    assert listed > 5
    load().update([], [MINUTES])
    assert rows(database, "select count(*) from deribit_raw.instruments") == [(listed,)]


def test_every_complete_package_is_told(load, database):
    told = []

    def landed(candles: int) -> None:
        told.append((candles, rows(database, COMPLETE)[0][0]))

    load(load_candles=5000, landed=landed).backfill([BTC], [MINUTES], days(20, 25))
    assert told == [(5000, 1), (2200, 2)]
    assert ticks(database) == minutes(20, 25)


def test_a_minute_of_more_perpetuals_than_a_byte_can_number_lands_in_one_package(load, database):
    now = JAN + 30 * DAY_MS
    with simulated(clock=NOW, extra_instruments=500) as many:
        result = load(client=impatient(many)).backfill(["all"], [MINUTES], (now - MINUTE_MS, now))
    assert len(result.candles) > 128
    count = "count(*), count(distinct instrument), count(distinct _dlt_load_id)"
    found = rows(database, f"select {count} from deribit_raw.candles")
    assert found == [(len(result.candles), len(result.candles), 1)]


def test_the_lock_is_free_before_the_server_notices_that_a_connection_closed(database, monkeypatch):
    with monkeypatch.context() as patched:
        unnoticed = let_connections_linger(patched)
        with locks.run_lock(database):
            pass
        with locks.run_lock(database):
            assert len(unnoticed) == 1
    execute(database, *(f"select pg_terminate_backend({each.info.backend_pid})" for each in unnoticed))


def test_synthetic_candles_cannot_join_market_candles(load, database, monkeypatch):
    load().backfill([BTC], [MINUTES], days(29, 30))
    live = load()
    told = replace(live.client.server_time(), origin="live")
    monkeypatch.setattr(live.client, "server_time", lambda: told)
    with pytest.raises(PerpsError, match="holds simulator candles"):
        live.update([], [MINUTES])
    assert ticks(database) == minutes(29, 30)


def test_a_load_starts_no_process_that_could_outlive_it_and_hold_its_lock(load, monkeypatch):
    def refuse():
        raise AssertionError("a process was forked: it holds every connection of a load that is killed")

    monkeypatch.setattr(os, "fork", refuse)
    assert load().backfill([BTC], [MINUTES], days(1, 1.1)).landed


def test_a_session_that_is_lost_before_anything_is_asked_ends_the_load_with_one_line(
    load, database, monkeypatch
):
    def end_session(opened):
        rows(database, "select pg_terminate_backend(%s)", opened.info.backend_pid)
        return sweep(opened)

    load().backfill([BTC], [MINUTES], days(1, 1.1))
    sweep = cleaning.sweep
    with monkeypatch.context() as patched:
        patched.setattr(cleaning, "sweep", end_session)
        with pytest.raises(DatabaseError, match=r"database .*again"):
            load().update([], [MINUTES])
    load().update([], [MINUTES])
    assert ticks(database)[-1] == 30 * 1440 - 1
