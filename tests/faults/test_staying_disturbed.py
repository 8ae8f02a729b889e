"""A run that stays comes back by itself from what ends, fills up or falls silent, and loses nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from extract.embedded.cluster import Cluster
from extract.simulator import RunningSimulator
from tests.faults.test_disk_full import mounted
from tests.support.exchange import set_clock, set_faults
from tests.support.flow import BACKFILL, INSTRUMENTS, START, Flow
from tests.support.perps import Perps
from tests.support.staying import Staying, staying
from tests.support.truth import control, look, rows, table, truth
from tests.support.waiting import wait_until

MINUTE_MS = 60_000
STEPPED = "import os, time; true = time.time; time.time = lambda: true() + 15 * os.path.exists({flag!r})"
"""Lets a process's clock step forward while a file exists, and back when it is gone."""


@pytest.fixture(scope="module")
def flow(
    own_cluster: Cluster,
    server: Cluster,
    exchange: RunningSimulator,
    perps: Perps,
    environment: dict[str, str],
) -> Flow:
    """A flow into a server of its own; `server` is asked for so that hosts without one skip."""
    flow = Flow(own_cluster.start(), exchange, perps, environment)
    flow.expect(*BACKFILL)
    return flow


@pytest.fixture(scope="module")
def run(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staying]:
    """A run that has built everything; tests disturb its clock and the disk of its working files."""
    folder = tmp_path_factory.mktemp("staying")
    folder.chmod(0o755)
    with (
        mounted(folder / "pipelines", "20m"),
        staying(
            flow.database,
            flow.exchange,
            flow.environment,
            folder,
            code=STEPPED.format(flag=str(folder / "stepped")),
        ) as started,
    ):
        started.settle()
        yield started


def tick(exchange: RunningSimulator, minutes: int = 1) -> str:
    """Let minutes close; return when the last of them did."""
    now_ms = look(exchange.base_url, "state")["now_ms"] // MINUTE_MS * MINUTE_MS + minutes * MINUTE_MS
    set_clock(exchange, str(now_ms))
    control(exchange.base_url, "clock", {"advance_ms": 500})
    return str(now_ms)


def expect_truth(flow: Flow, end: str) -> None:
    """Wait until the table, and the days, are what the exchange has told until a time."""
    for name in INSTRUMENTS:
        true = truth(flow.exchange.base_url, name, START, end)
        wait_until(lambda name=name, true=true: table(flow.database, name) == true, "the truth", 120, 0.5)
    days = "select sum(candles) from perpetuals_ohlcv_1d"
    wait_until(
        lambda: rows(flow.database, days) == rows(flow.database, "select count(*) from perpetuals_ohlcv"),
        "the days",
    )


def failed(run: Staying, how: str) -> Callable[[], bool]:
    """Return a condition: it has failed in this way since now."""
    before = run.log.count(how)
    return lambda: run.log.count(how) > before


def test_a_server_that_is_killed_and_comes_back_costs_nothing_but_time(run: Staying, flow: Flow, own_cluster):
    updates = run.log.count(" update: ")
    # between two turns: an update under way would first fail in another way, which alone would be printed
    wait_until(lambda: run.log.count(" update: ") > updates, "the end of an update", pause=0.01)
    own_cluster._server.halt("immediate")
    end = tick(flow.exchange)
    wait_until(
        lambda: run.log.count("ERROR extract.cli.staying update: could not connect to") > 1, "failures"
    )
    own_cluster.start()
    expect_truth(flow, end)
    assert run.said.count("could not connect to") == 1, "what fails again and again is said once"


def test_half_an_hour_without_the_api_is_there_when_it_answers_again(run: Staying, flow: Flow):
    set_faults(flow.exchange, {"kind": "http", "status": 503})
    retries = failed(run, "retrying: ")
    end = tick(flow.exchange, 30)
    wait_until(retries, "a retry")
    time.sleep(2)
    set_faults(flow.exchange)
    expect_truth(flow, end)


def test_a_clock_that_steps_and_steps_back_stops_nothing_for_longer_than_it_stepped(run: Staying, flow: Flow):
    flag = run.folder / "stepped"
    flag.touch()
    end = tick(flow.exchange)
    expect_truth(flow, end)
    behind = failed(run, "this machine's clock")
    flag.unlink()
    end = tick(flow.exchange)
    wait_until(behind, "a load that is refused")
    expect_truth(flow, end)


def test_a_disk_of_working_files_that_fills_up_and_is_freed_loses_nothing(run: Staying, flow: Flow):
    full = failed(run, "No space left on device")
    ballast = run.folder / "pipelines" / "ballast"
    with ballast.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(4096))
    end = tick(flow.exchange)
    wait_until(full, "a full disk")
    ballast.unlink()
    expect_truth(flow, end)


def test_it_is_still_the_same_process_and_no_failure_is_left(run: Staying):
    assert not run.ended
    metrics = run.metrics()
    assert metrics['perps_step_failures_total{step="update"}'] >= 3
    broken = [line for line in run.said.splitlines() if line.startswith("error: ")]
    assert sum("works again" in line for line in run.said.splitlines()) >= 3, broken
    assert "Traceback" not in run.said


@pytest.mark.parametrize("rounds", [2, pytest.param(25, marks=pytest.mark.long)])
def test_whenever_it_is_killed_the_next_one_completes_the_table(
    rounds: int, flow: Flow, run: Staying, tmp_path: Path
):
    run.process.kill()
    run.process.wait()
    drawn = random.Random(rounds)
    for _ in range(rounds):
        with staying(flow.database, flow.exchange, flow.environment, tmp_path) as victim:
            begun = failed(victim, "update: ")
            wait_until(begun, "a first update", 120)
            for _ in range(drawn.randint(1, 4)):
                tick(flow.exchange, drawn.randint(1, 3))
                time.sleep(drawn.uniform(0, 3))
    end = tick(flow.exchange)
    with staying(flow.database, flow.exchange, flow.environment, tmp_path):
        expect_truth(flow, end)
