"""Every mistake a person can make gets one line that says what to do, and its exit code."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from extract.database import locks
from tests.support.perps import error_line
from tests.support.truth import rows

RANGE = ("--start", "2024-01-01", "--end", "2024-01-02")
BTC = ("--instruments", "BTC-PERPETUAL")
EXCHANGE = {"clock": "2024-02-01"}
NOWHERE = "http://127.0.0.1:9/api/v2"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("backfill", *BTC, "--start", "2024-13-01"), "--start"),
        (("backfill", *BTC, "--start", "2024-02-01", "--end", "2024-01-01"), "--end after --start"),
        (("backfill", *BTC, *RANGE, "--resolution", "7"), "a resolution of 1, 3, 5"),
        (("backfill", *RANGE), "--instruments"),
        (("backfill", *BTC, *RANGE, "--load-candles", "0"), "--load-candles"),
        (("backfill", *BTC, *RANGE, "--requests-per-second", "-1"), "a number above 0"),
        (("backfill", *BTC, *RANGE, "--api-url", "file:///etc/passwd"), "an http URL"),
        (("backfill", *BTC, *RANGE, "--wait", "-1"), "--wait"),
        (("dbt",), "dbt arguments after --"),
        (("db", "destroy"), "--yes"),
    ],
    ids=lambda value: "-".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_wrong_usage_exits_with_2_and_names_what_is_wrong(arguments, named, perps):
    assert named in error_line(perps(*arguments), 2)


def test_an_unknown_command_exits_with_2(perps):
    result = perps("backfil")
    assert result.returncode == 2
    assert "invalid choice" in result.stderr


def test_an_unknown_instrument_exits_with_2_and_says_where_to_look(alone, database, exchange):
    result = alone("backfill", "--instruments", "BTC-PERP", *RANGE, database=database, api=exchange.base_url)
    said = error_line(result, 2)
    assert "BTC-PERP (BTC-PERPETUAL or BTC_USDC-PERPETUAL?)" in said
    assert "perps instruments" in said


def test_an_update_of_nothing_exits_with_2(perps, database, exchange):
    assert "--instruments" in error_line(perps("update", database=database, api=exchange.base_url), 2)


def test_an_api_that_cannot_be_reached_exits_with_1(perps, database):
    assert NOWHERE in error_line(perps("backfill", *BTC, *RANGE, database=database, api=NOWHERE))


def test_a_database_that_cannot_be_reached_exits_with_1(perps, exchange):
    nowhere = {"PGHOST": "127.0.0.1", "PGPORT": "9", "PGUSER": "x", "PGDATABASE": "y", "PGPASSWORD": "s3cret"}
    result = perps("backfill", *BTC, *RANGE, api=exchange.base_url, env=nowhere)
    assert "127.0.0.1:9/y" in error_line(result)
    assert "s3cret" not in result.stderr


def test_a_database_without_timescaledb_exits_with_1(perps, server, exchange):
    plain = server.database("postgres", "postgres")
    result = perps("backfill", *BTC, *RANGE, database=plain, api=exchange.base_url)
    assert "create extension timescaledb" in error_line(result)


def test_a_second_run_exits_with_1(perps, database, exchange):
    with locks.run_lock(database):
        result = perps("backfill", *BTC, *RANGE, database=database, api=exchange.base_url)
    assert "is using database" in error_line(result)


def test_a_run_that_waits_begins_when_the_other_ends(perps, database, exchange):
    waits = "select pid from pg_stat_activity where query like '%pg_locks%' and pid <> pg_backend_pid()"
    with ExitStack() as other:
        other.enter_context(locks.run_lock(database))
        others = set(rows(database, waits))  # such as one of the test before, on its way out

        def end_once_awaited() -> None:
            while set(rows(database, waits)) <= others:
                time.sleep(0.05)
            other.close()

        threading.Thread(target=end_once_awaited, daemon=True).start()
        result = perps("backfill", *BTC, *RANGE, "--wait", "100", database=database, api=exchange.base_url)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("waiting up to 100 s for another load, running since 20") == 1


@pytest.mark.parametrize(
    ("command", "lock"),
    [(("update", "--wait", "1"), locks.LOCK), (("dbt", "--wait", "1", "--", "build"), locks.BUILD_LOCK)],
    ids=["load", "build"],
)
def test_a_run_that_waited_in_vain_exits_with_1(command, lock, perps, database, exchange):
    with locks.run_lock(database, lock):
        result = perps(*command, database=database, api=exchange.base_url)
    assert "waiting up to 1 s" in result.stderr
    assert ", running since 20" in error_line(result)


def test_what_reads_the_models_before_there_are_any_says_to_build(perps, database, exchange, tmp_path):
    for command in (("report", "--out", str(tmp_path)), ("verify",)):
        assert "perps dbt -- build" in error_line(perps(*command, database=database, api=exchange.base_url))
    assert list(tmp_path.iterdir()) == []


def test_dbt_before_any_load_says_to_load(perps, database):
    result = perps("dbt", "--", "build", database=database)
    assert result.returncode == 1
    assert "perps backfill" in result.stdout + result.stderr


def test_a_server_that_is_not_ours_is_not_stopped(perps, database, tmp_path):
    stopped = perps("db", "stop", database=database, env={"PERPS_HOME": str(tmp_path)})
    assert "embedded server only" in error_line(stopped)


@pytest.mark.parametrize("env", [{"DERIBIT_REQUESTS_PER_SECOND": "nan"}, {"PERPS_HOME": "/dev/null"}])
def test_what_is_wrong_before_there_is_a_log_is_said_once(alone, env):
    result = alone("instruments", env=env)
    assert (result.returncode, result.stderr.count("\n")) in ((1, 1), (2, 1)), result.stderr


def test_the_log_file_keeps_what_happened(perps, environment):
    said = error_line(perps("backfill", *BTC, "--start", "once upon a time"), 2)
    log = Path(environment["PERPS_HOME"], "logs", "perps.log").read_text()
    assert f"ERROR extract.cli.main {said.removeprefix('error: ')}" in log
