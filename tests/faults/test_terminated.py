"""`perps backfill` that is told to end says so in one line, and the same command again completes it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.server.connection import Connection
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.conftest import Perps, perps_command, perps_environment
from tests.faults.ledger import Injected, judge, record
from tests.integration.dbt_harness import wait_until
from tests.integration.truth import rows, truth

BTC = "BTC-PERPETUAL"
START, END = "2024-01-01T00:00:00Z", "2024-01-11T00:00:00Z"
BACKFILL = ("backfill", "--instruments", BTC, "--start", START, "--end", END, "--package-candles", "5000")
HELD = """
select distinct (extract(epoch from "timestamp") * 1000)::bigint, instrument,
    open::text::numeric(18, 8), high::text::numeric(18, 8), low::text::numeric(18, 8),
    close::text::numeric(18, 8), volume::text::numeric(18, 8)
from deribit_raw.candles
where _dlt_load_id in (select load_id from deribit_raw._dlt_loads where status = 0)
"""


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock=END, requests_per_second=None, latency_ms=300)) as simulated:
        yield simulated


def test_a_backfill_that_is_told_to_end_is_completed_by_the_next(
    database: Connection,
    exchange: RunningSimulator,
    perps: Perps,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    exchange.simulator.log.clear()
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            perps_command(*BACKFILL),
            env=perps_environment(environment, database, exchange.base_url),
            stdout=said,
            stderr=said,
        )
        wait_until(lambda: any(entry.rows for entry in exchange.simulator.log), "candles on their way")
        process.send_signal(signal.SIGTERM)
        ended = process.wait(timeout=60)
    lines = (tmp_path / "said").read_text().splitlines()
    assert ended == 143, lines
    assert lines[-1] == "interrupted: what was loaded is safe, run the same command again"
    assert "Traceback" not in "".join(lines)

    began = time.monotonic()
    again = perps(*BACKFILL, database=database, api=exchange.base_url)
    recovery = time.monotonic() - began
    assert again.returncode == 0, again.stderr
    fault = "SIGTERM to a backfill"
    true = truth(exchange.base_url, BTC, START, END)
    record(Injected("people", fault, *judge(rows(database, HELD), true), recovery))
