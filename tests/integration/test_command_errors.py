"""Every mistake a person can make gets one line that says what to do, and its exit code."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from extract.database import locks
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.support.perps import Perps
from tests.support.truth import rows

RANGE = ("--start", "2024-01-01", "--end", "2024-01-02")
BTC = ("--instruments", "BTC-PERPETUAL")
NOWHERE = "http://127.0.0.1:9/api/v2"


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock="2024-02-01", requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture
def perps(perps: Perps) -> Perps:
    """Every command in a process of its own, as a person has it."""
    return partial(perps, alone=True)


def one_line(result) -> str:
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("backfill", *BTC, "--start", "2024-13-01"),
            "expected a date, an ISO time or milliseconds in --start",
        ),
        (("backfill", *BTC, "--start", "2024-02-01", "--end", "2024-01-01"), "expected --end after --start"),
        (("backfill", *BTC, *RANGE, "--resolution", "7"), "expected a resolution of 1, 3, 5"),
        (("backfill", *RANGE), "expected --instruments"),
        (("backfill", *BTC, *RANGE, "--package-candles", "0"), "expected --package-candles of at least 1"),
        (("backfill", *BTC, *RANGE, "--requests-per-second", "-1"), "expected a number above 0"),
        (("backfill", *BTC, *RANGE, "--api-url", "file:///etc/passwd"), "expected an http address"),
        (("backfill", *BTC, *RANGE, "--wait", "-1"), "expected --wait of at least 0 seconds"),
        (("dbt",), "expected dbt arguments after --"),
        (("db", "destroy"), "expected --yes"),
    ],
    ids=lambda value: "-".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_wrong_usage_exits_with_2(arguments, message, perps):
    result = perps(*arguments)
    assert result.returncode == 2
    assert message in one_line(result)


def test_an_unknown_command_exits_with_2(perps):
    result = perps("backfil")
    assert result.returncode == 2
    assert "invalid choice" in result.stderr


def test_an_unknown_instrument_exits_with_2_and_says_where_to_look(perps, database, exchange):
    result = perps("backfill", "--instruments", "BTC-PERP", *RANGE, database=database, api=exchange.base_url)
    assert result.returncode == 2
    assert "got BTC-PERP (BTC-PERPETUAL or BTC_USDC-PERPETUAL?); see: perps instruments" in one_line(result)


def test_an_update_of_nothing_exits_with_2(perps, database, exchange):
    result = perps("update", database=database, api=exchange.base_url)
    assert result.returncode == 2
    assert "expected --instruments" in one_line(result)


def test_an_api_that_cannot_be_reached_exits_with_1(perps, database):
    result = perps("backfill", *BTC, *RANGE, database=database, api=NOWHERE)
    assert result.returncode == 1
    assert f"expected the deribit api at {NOWHERE}, got ConnectionError" in one_line(result)


def test_a_database_that_cannot_be_reached_exits_with_1(perps, exchange):
    nowhere = {"PGHOST": "127.0.0.1", "PGPORT": "9", "PGUSER": "x", "PGDATABASE": "y", "PGPASSWORD": "s3cret"}
    result = perps("backfill", *BTC, *RANGE, api=exchange.base_url, env=nowhere)
    assert result.returncode == 1
    assert "expected a database at 127.0.0.1:9/y" in one_line(result)
    assert "s3cret" not in result.stderr


def test_a_database_without_timescaledb_exits_with_1(perps, server, exchange):
    plain = server.database("postgres", "postgres")
    result = perps("backfill", *BTC, *RANGE, database=plain, api=exchange.base_url)
    assert result.returncode == 1
    assert "must run there: create extension timescaledb" in one_line(result)


def test_a_second_run_exits_with_1(perps, database, exchange):
    with locks.run_lock(database):
        result = perps("backfill", *BTC, *RANGE, database=database, api=exchange.base_url)
    assert result.returncode == 1
    assert "found another at work" in one_line(result)


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
    assert result.stderr.count("waiting up to 100 s for another load at work since 20") == 1


@pytest.mark.parametrize(
    ("command", "lock"),
    [(("update", "--wait", "1"), locks.LOCK), (("dbt", "--wait", "1", "--", "build"), locks.BUILD_LOCK)],
    ids=["load", "build"],
)
def test_a_run_that_waited_in_vain_exits_with_1(command, lock, perps, database, exchange):
    with locks.run_lock(database, lock):
        result = perps(*command, database=database, api=exchange.base_url)
    assert result.returncode == 1
    assert "waiting up to 1 s for another" in result.stderr
    assert "found another at work since 20" in one_line(result)


def test_a_report_before_the_models_exits_with_1(perps, database, tmp_path):
    result = perps("report", "--out", str(tmp_path), database=database)
    assert result.returncode == 1
    assert "run: perps dbt -- build" in one_line(result)


def test_dbt_before_any_load_says_to_load(perps, database):
    result = perps("dbt", "--", "build", database=database)
    assert result.returncode == 1
    assert "perps backfill" in result.stdout + result.stderr


def test_a_server_that_is_not_ours_is_not_stopped(perps, database, tmp_path):
    result = perps("db", "stop", database=database, env={"PERPS_HOME": str(tmp_path)})
    assert result.returncode == 1
    assert "that server is not ours" in one_line(result)


@pytest.mark.parametrize("env", [{"DERIBIT_REQUESTS_PER_SECOND": "nan"}, {"PERPS_HOME": "/dev/null"}])
def test_what_is_wrong_before_there_is_a_log_is_said_once(perps, env):
    result = perps("instruments", env=env, alone=True)
    assert (result.returncode, result.stderr.count("\n")) in ((1, 1), (2, 1)), result.stderr


def test_the_log_file_keeps_what_happened(perps, environment):
    perps("backfill", *BTC, "--start", "whenever")
    log = Path(environment["PERPS_HOME"], "logs", "perps.log").read_text()
    assert "ERROR extract.cli.main expected a date, an ISO time or milliseconds in --start" in log
