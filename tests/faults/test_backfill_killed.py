"""kill -9 of `perps backfill` at three moments: the same command again leaves the same table."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, ETH, charts
from tests.support.flow import BUILD
from tests.support.perps import Perps, expect, perps_command, perps_environment
from tests.support.truth import checksum, rows, table, truth

START, END = "2024-01-01T00:00:00Z", "2024-01-15T00:00:00Z"
BACKFILL = (
    *("backfill", "--instruments", BTC, ETH, "--start", START, "--end", END),
    *("--requests-per-second", "1000", "--load-candles", "10000"),
)
CANDLES = 14 * 1440
EXCHANGE = {"clock": END, "latency_ms": 100}


@pytest.fixture(scope="module")
def undisturbed(module_database: Database, exchange: RunningSimulator, perps: Perps) -> tuple[int, str]:
    """The checksum of a run that nobody killed, which equals the exchange."""
    expect(perps(*BACKFILL, database=module_database, api=exchange.base_url))
    expect(perps(*BUILD, database=module_database))
    for instrument in (BTC, ETH):
        assert table(module_database, instrument) == truth(exchange.base_url, instrument, START, END)
    whole = checksum(module_database)
    assert whole[0] == 2 * CANDLES
    return whole


def complete_loads(database: Database) -> int:
    if rows(database, "select to_regclass('deribit_raw._dlt_loads')") == [(None,)]:
        return 0
    return rows(database, "select count(*) from deribit_raw._dlt_loads where status = 0")[0][0]


COPYING = """
select 1 from pg_stat_activity
where datname = current_database() and state = 'active' and query ilike 'copy %candles%'
"""


@pytest.mark.parametrize("moment", ["while the first windows are fetched", "inside a copy"])
def test_the_same_command_again_completes_a_killed_backfill(
    moment, undisturbed, database, exchange, perps, environment
):
    exchange.simulator.log.clear()
    with database.reading() as watching:  # a new connection for each look could miss a short copy

        def reached() -> bool:
            if moment != "inside a copy":
                return sum(asked.rows > 0 for asked in charts(exchange)) >= 3
            watching.execute(COPYING)
            return watching.fetchone() is not None and complete_loads(database) >= 1

        kill_when(reached, database, exchange.base_url, environment)
    expect(perps(*BACKFILL, database=database, api=exchange.base_url))
    expect(perps(*BUILD, database=database))
    assert checksum(database) == undisturbed
    loads = "select load_id from deribit_raw._dlt_loads"
    orphans = f"select count(*) from deribit_raw.candles where _dlt_load_id not in ({loads})"
    assert rows(database, orphans) == [(0,)]


def test_an_update_completes_a_killed_backfill_too(undisturbed, database, exchange, perps, environment):
    kill_when(lambda: complete_loads(database) >= 1, database, exchange.base_url, environment)
    expect(perps("update", database=database, api=exchange.base_url))
    held = rows(
        database, 'select count(distinct "timestamp") from deribit_raw.candles where instrument = %s', BTC
    )
    assert held == [(CANDLES,)]


def kill_when(reached: Callable[[], bool], database: Database, api: str, environment: dict[str, str]) -> None:
    """Run the backfill, and kill -9 its whole process group at a moment."""
    process = subprocess.Popen(
        perps_command(*BACKFILL),
        env=perps_environment(environment, database, api),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    try:
        while not reached():
            assert process.poll() is None and time.monotonic() < deadline, "the moment did not come"
            time.sleep(0.005)  # a copy is short
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "the run was over before it was killed"
