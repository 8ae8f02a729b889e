"""A command that is told to end does so within ten seconds, in one line, wherever it is."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.database.locks import run_lock
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, charts, set_faults, simulated
from tests.support.ledger import Injected, judge, record
from tests.support.perps import Perps, expect, perps_command, perps_environment
from tests.support.truth import control, rows, table, truth
from tests.support.waiting import wait_until

START, LOADED, END = "2024-01-01T00:00:00Z", "2024-01-01T12:00:00Z", "2024-01-02T00:00:00Z"
SAID = "interrupted: what was loaded is safe, run the same command again"
WAITING = "select count(*) from pg_locks where not granted and pid <> pg_backend_pid()"
UPDATE = ("update", "--instruments", BTC)
BUILD = ("dbt", "--", "--quiet", "run", "--select", "+perpetuals_ohlcv")


@dataclass(frozen=True)
class Moment:
    """Where a command is when the signal comes.

    Attributes:
        name: in a few words.
        command: what is interrupted.
        held: the table, and the mode, of a lock that keeps it waiting.
        fault: of the API, which keeps it waiting instead.
    """

    name: str
    command: tuple[str, ...]
    held: tuple[str, str] | None = None
    fault: dict[str, object] | None = None


WRITES, READS = "share row exclusive", "access exclusive"
FETCH = Moment("a fetch", UPDATE, fault={"kind": "hang", "seconds": 60})
COMPARE = Moment("a statement of a load", UPDATE, ("deribit_raw.candles", READS))
COPY = Moment("a COPY", UPDATE, ("deribit_raw.candles", WRITES))
ANNOUNCE = Moment("the bookkeeping of a load", UPDATE, ("deribit_raw._dlt_loads", WRITES))
DBT = Moment("dbt", BUILD, ("public.perpetuals_ohlcv", WRITES))
RUN = Moment("the build of perps run", ("run", "--no-report"), ("public.perpetuals_ohlcv", WRITES))
REPORT = Moment("a report", ("report", "--out", "/tmp/perps-report"), ("public.perpetuals_ohlcv", READS))
AUDIT = Moment("an audit", ("audit",), ("public.perpetuals_ohlcv", READS))
QUEUE = Moment("waiting for another load", (*UPDATE, "--wait", "60"))

SOON = [(moment, signal.SIGTERM) for moment in (FETCH, COMPARE, COPY, RUN)] + [(DBT, signal.SIGINT)]
TOLD = [
    pytest.param(moment, number, marks=[pytest.mark.long] * ((moment, number) not in SOON))
    for moment in (FETCH, COMPARE, COPY, ANNOUNCE, DBT, RUN, REPORT, AUDIT, QUEUE)
    for number in (signal.SIGINT, signal.SIGTERM)
]


def name_of(value: object) -> str:
    return value.name if isinstance(value, Moment | signal.Signals) else str(value)


@pytest.fixture(scope="module")
def exchange(module_database: Database, perps: Perps) -> Iterator[RunningSimulator]:
    """A simulator of which half a day is in the table, and half a day is wanted."""
    with simulated(clock=LOADED) as running:
        for command in (("backfill", "--instruments", BTC, "--start", START), BUILD):
            expect(perps(*command, database=module_database, api=running.base_url))
        control(running.base_url, "clock", {"advance_ms": 11 * 3_600_000})
        yield running


@contextmanager
def kept_waiting(moment: Moment, database: Database, exchange: RunningSimulator) -> Iterator[None]:
    """Keep a command from going on where its moment is."""
    set_faults(exchange, *([moment.fault] if moment.fault else []))
    exchange.simulator.log.clear()
    opened = database.connect(autocommit=False)
    try:
        with opened.cursor() as cursor, run_lock(database) if moment == QUEUE else nullcontext():
            if moment.held:
                cursor.execute("lock table {} in {} mode".format(*moment.held))
            yield
    finally:
        opened.close()
        set_faults(exchange)


def started(
    moment: Moment, database: Database, exchange: RunningSimulator, environment: dict[str, str], said: Path
) -> subprocess.Popen[str]:
    """Start a command and return once it is where its moment is."""
    exchange.simulator.log.clear()
    with said.open("w") as output:
        env = perps_environment(environment, database, exchange.base_url)
        process = subprocess.Popen(
            perps_command(*moment.command), env=env, stdout=output, stderr=output, text=True
        )
    waiting = {
        FETCH.name: lambda: bool(charts(exchange)),
        QUEUE.name: lambda: "waiting up to" in said.read_text(),
    }.get(moment.name, lambda: rows(database, WAITING) != [(0,)])
    wait_until(lambda: process.poll() is not None or waiting(), "the command at its moment")
    assert process.poll() is None, said.read_text()
    return process


@pytest.mark.parametrize(("moment", "number"), TOLD, ids=name_of)
def test_a_command_that_is_told_to_end_does_and_the_next_completes_it(
    moment, number, module_database, exchange, perps, environment, tmp_path
):
    database, said = module_database, tmp_path / "said"
    control(exchange.base_url, "clock", {"advance_ms": 60_000})
    if moment in (DBT, REPORT, AUDIT):  # with something to build
        expect(perps(*UPDATE, database=database, api=exchange.base_url))
    with kept_waiting(moment, database, exchange):
        process = started(moment, database, exchange, environment, said)
        began = time.monotonic()
        process.send_signal(number)
        ended = process.wait(timeout=60)
        took = time.monotonic() - began
        wait_until(lambda: rows(database, WAITING) == [(0,)], "the server without its statements")
    lines = said.read_text().splitlines()
    print(f"{moment.name}, {number.name}: {took:.1f} s, exit code {ended}")
    assert (ended, lines[-1], lines.count(SAID)) == (128 + number, SAID, 1), lines
    assert "Traceback" not in "".join(lines)
    assert took < 10
    began = time.monotonic()
    for command in (UPDATE, BUILD):
        expect(perps(*command, database=database, api=exchange.base_url))
    true = truth(exchange.base_url, BTC, START, END)
    found = judge(table(database), true)
    record(Injected("people", f"{number.name} in {moment.name}", *found, time.monotonic() - began))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=name_of)
def test_a_second_signal_ends_a_command_at_once(number, module_database, exchange, environment, tmp_path):
    with kept_waiting(COMPARE, module_database, exchange):
        process = started(COMPARE, module_database, exchange, environment, tmp_path / "said")
        process.send_signal(number)
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=60) in (128 + number, -number)
        assert time.monotonic() - began < 1
