"""dbt in a process beside the load: it builds while candles land, and never outlives who started it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.errors import PerpsError
from extract.load.loader import Loader
from extract.transform.background import Builder
from extract.transform.runner import Project
from tests.benchmarks.processes import children
from tests.support.exchange import BTC, ETH
from tests.support.loading import MINUTES, impatient
from tests.support.perps import PROJECT, perps_command, perps_environment
from tests.support.truth import rows, table, truth
from tests.support.waiting import wait_until

START, END = "2024-01-01T00:00:00Z", "2024-01-22T00:00:00Z"
EXCHANGE = {"clock": END, "latency_ms": 100}
RANGE = (1_704_067_200_000, 1_705_881_600_000)
BATCH, EVERY = 10_000, 25_000
RUN = perps_command("run", "--instruments", BTC, "--requests-per-second", "1")
MODELS = ["run", "--select", "+perpetuals_ohlcv"]


@pytest.fixture
def dbt_project(tmp_path: Path) -> Project:
    return Project(PROJECT, tmp_path / "dbt")


@pytest.fixture
def settled(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process, and the one it starts, have the variables of the suite's commands."""
    for name in ("PYTHONPATH", "DBT_TARGET_PATH", "DBT_LOG_PATH", "DBT_WRITE_JSON"):
        monkeypatch.setenv(name, environment[name])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_models_are_built_while_candles_land_and_hold_all_of_them(
    settled, dbt_project, database, exchange, tmp_path
):
    client = impatient(exchange)
    with Builder(database, dbt_project, build_every=EVERY) as builder:
        loader = Loader(client, database, tmp_path, landed=builder.landed, load_candles=BATCH)
        loader.backfill([BTC], [MINUTES], RANGE)
        wait_until(lambda: built(database) > 0, "a build that nobody asked for")
        loader.backfill([ETH], [MINUTES], RANGE)
        builder.run(MODELS)
    for instrument in (BTC, ETH):
        assert table(database, instrument) == truth(exchange.base_url, instrument, START, END)


def test_a_builder_that_dies_fails_its_build_and_not_the_load_and_is_started_again(
    settled, dbt_project, database, exchange, tmp_path
):
    client = impatient(exchange)
    with Builder(database, dbt_project, build_every=EVERY) as builder:
        assert builder.pid is not None
        os.kill(builder.pid, signal.SIGKILL)
        loader = Loader(client, database, tmp_path, landed=builder.landed, load_candles=BATCH)
        outcome = loader.backfill([BTC], [MINUTES], RANGE)
        assert outcome.candles == {BTC: 21 * 1440}
        builder.run(MODELS)
        again = builder.pid
        assert again is not None
        threading.Timer(0.3, os.kill, (again, signal.SIGKILL)).start()
        with pytest.raises(PerpsError, match=r"exit code -9.*again"):
            while True:
                builder.run(MODELS)
        builder.run(MODELS)
    assert table(database, BTC) == truth(exchange.base_url, BTC, START, END)


def test_a_command_that_dbt_refuses_says_why(settled, dbt_project, database):
    with (
        Builder(database, dbt_project) as builder,
        pytest.raises(PerpsError, match="deribit_raw"),
    ):
        builder.run(MODELS)


def test_what_failed_is_named_also_of_a_build_that_nobody_asked_for(
    settled, dbt_project, database, exchange, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(logging.getLogger("extract"), "propagate", True)
    rows(database, "create table perpetuals_ohlcv (something_else integer); select 1")
    client = impatient(exchange)
    failed = "dbt run failed: 1 model failed: perpetuals_ohlcv; see its output above"
    with Builder(database, dbt_project, build_every=EVERY) as builder:
        loader = Loader(client, database, tmp_path, landed=builder.landed)
        loader.backfill([BTC], [MINUTES], RANGE)
        begun = "select to_regclass('quality.watermarks')"
        wait_until(lambda: rows(database, begun) != [(None,)], "a build that nobody asked for")
        with pytest.raises(PerpsError, match=f"^{failed}$"):
            builder.run(MODELS)
        operation = ["run-operation", "reread_loads", "--args", "{model: nothing}"]
        with pytest.raises(PerpsError, match="run-operation failed: 1 operation failed: reread_loads; try"):
            builder.run(operation, "try something else")
    assert caplog.messages == [f"a build while candles were landing failed: {failed}"]


def test_no_builder_outlives_a_killed_run(environment, database, exchange):
    env = perps_environment(environment, database, exchange.base_url)
    run = subprocess.Popen(RUN, env=env, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(children(run.pid)) > 0, "a builder")
    started = children(run.pid)
    run.kill()
    run.wait()
    wait_until(lambda: not any(map(alive, started)), "its end")


def test_an_interrupt_ends_the_run_and_its_builder(environment, database, exchange):
    env = perps_environment(environment, database, exchange.base_url)
    # a suite that a script runs in the background ignores interrupts, and so would what it starts
    command = ["env", "--default-signal=INT", *RUN]
    run = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: len(children(run.pid)) > 0, "a builder")
    started = children(run.pid)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    assert run.wait(30) == 130
    assert run.stderr is not None
    said = run.stderr.read()
    assert said.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in said
    wait_until(lambda: not any(map(alive, started)), "its end")


def built(database: Database) -> int:
    """Return the candles of the table, 0 before there is one."""
    if rows(database, "select to_regclass('perpetuals_ohlcv')") == [(None,)]:
        return 0
    return int(rows(database, "select count(*) from perpetuals_ohlcv")[0][0])
