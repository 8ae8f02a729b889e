"""kill -9 of `perps backfill` at three moments: the same command again leaves the same table."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.support.perps import Perps, perps_command, perps_environment
from tests.support.truth import checksum, rows, table, truth

BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
START, END = "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"
BACKFILL = (
    *("backfill", "--instruments", BTC, ETH, "--start", START, "--end", END),
    *("--requests-per-second", "1000", "--package-candles", "20000"),
)
BUILD = ("dbt", "--", "run", "--select", "+perpetuals_ohlcv")
CANDLES = 31 * 1440


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock=END, requests_per_second=None, latency_ms=100)) as simulated:
        yield simulated


@pytest.fixture(scope="module")
def undisturbed(module_database: Database, exchange: RunningSimulator, perps: Perps) -> tuple[int, str]:
    """The checksum of a run that nobody killed, which equals the exchange."""
    assert perps(*BACKFILL, database=module_database, api=exchange.base_url).returncode == 0
    assert perps(*BUILD, database=module_database).returncode == 0
    for instrument in (BTC, ETH):
        assert table(module_database, instrument) == truth(exchange.base_url, instrument, START, END)
    return checksum(module_database)


def complete_loads(database: Database) -> int:
    try:
        return rows(database, "select count(*) from deribit_raw._dlt_loads where status = 0")[0][0]
    except Exception:  # the table is not there yet
        return 0


def copying(database: Database) -> Callable[[Database], bool]:
    """Tell whether candles are streaming into the raw table right now, after a first complete load."""
    watching = database.connect()  # one connection: a new one for each look could miss a short copy

    def reached(_: Database) -> bool:
        with watching.cursor() as cursor:
            cursor.execute(
                "select 1 from pg_stat_activity where datname = current_database() and state = 'active'"
                " and query ilike 'copy %candles%'"
            )
            busy = cursor.fetchone()
        return busy is not None and complete_loads(database) >= 1

    return reached


def fetching(exchange: RunningSimulator) -> Callable[[Database], bool]:
    def reached(_: Database) -> bool:
        return sum(entry.rows > 0 for entry in exchange.simulator.log) >= 3

    return reached


@pytest.mark.parametrize(
    "moment",
    [
        "while the first windows are fetched",
        pytest.param("after two packages", marks=pytest.mark.long),
        "inside a copy",
    ],
)
def test_the_same_command_again_completes_a_killed_backfill(
    moment, undisturbed, database, exchange, perps, environment
):
    reached = {
        "while the first windows are fetched": fetching(exchange),
        "after two packages": lambda db: complete_loads(db) >= 2,
        "inside a copy": copying(database),
    }[moment]
    exchange.simulator.log.clear()
    killed_at = kill_when(lambda: reached(database), database, exchange.base_url, environment)
    assert killed_at < 2 * CANDLES, "the run was over before it could be killed"

    again = perps(*BACKFILL, database=database, api=exchange.base_url)
    assert again.returncode == 0, again.stderr
    assert perps(*BUILD, database=database).returncode == 0
    assert checksum(database) == undisturbed
    orphans = rows(
        database,
        "select count(*) from deribit_raw.candles"
        " where _dlt_load_id not in (select load_id from deribit_raw._dlt_loads)",
    )
    assert orphans == [(0,)]


def test_an_update_completes_a_killed_backfill_too(undisturbed, database, exchange, perps, environment):
    exchange.simulator.log.clear()
    kill_when(lambda: complete_loads(database) >= 1, database, exchange.base_url, environment)
    updated = perps("update", database=database, api=exchange.base_url)
    assert updated.returncode == 0, updated.stderr
    held = rows(
        database, 'select count(distinct "timestamp") from deribit_raw.candles where instrument = %s', BTC
    )
    assert held == [(CANDLES,)]


def kill_when(reached: Callable[[], bool], database: Database, api: str, environment: dict[str, str]) -> int:
    """Run the backfill, kill -9 its whole process group at a moment, and return the raw candles there."""
    process = subprocess.Popen(
        perps_command(*BACKFILL),
        env=perps_environment(environment, database, api),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not reached():
            assert process.poll() is None, "the run was over before the moment came"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    try:
        return rows(database, "select count(*) from deribit_raw.candles")[0][0]
    except Exception:  # killed before the raw tables were made
        return 0
