"""`backfill`, `update` and `build` in a program: what they return, and that they change nothing in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.support.perps import perps_environment
from tests.support.truth import control, rows, table, truth

BTC = "BTC-PERPETUAL"
NOW, LATER = "2024-01-31T00:00:30Z", "2024-01-31T01:00:30Z"

WATCHED = '''
import faulthandler, logging, os, signal, sys, threading
import dlt, pyarrow
from extract import *
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask

def process():
    """What a library must leave as it is."""
    context = Container()[PluggableRunContext]
    return {
        "environment": dict(os.environ),
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "wakeup": signal.set_wakeup_fd(-1),
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "memory": pyarrow.default_memory_pool().backend_name,
        "logging": [list(logging.getLogger(name).handlers) for name in (None, "extract", "dlt")],
        "levels": [logging.getLogger(name).level for name in (None, "extract", "dlt")],
        "pipeline": dlt.pipeline(),
        "run context": context.context,
        "providers": [type(one) for one in context.providers.providers],
        "umask": umask(),
        "folder": os.getcwd(),
        "threads": threading.enumerate(),
        "files": len(os.listdir("/proc/self/fd")),
    }

mine = dlt.pipeline("mine", destination="duckdb", pipelines_dir="pipelines")
before = process()
'''

UNCHANGED = """
changed = [name for name, now in process().items() if now != before[name]]
assert not changed, changed
assert dlt.pipeline() is mine
"""


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock=NOW, requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture(autouse=True)
def calm(exchange: RunningSimulator) -> None:
    control(exchange.base_url, "clock", {"now": NOW})
    control(exchange.base_url, "faults", [])


@pytest.fixture
def program(
    environment: Mapping[str, str], database: Database, exchange: RunningSimulator, tmp_path: Path
) -> Callable[..., subprocess.Popen[str]]:
    """Start lines of Python as a person's script: without a guard, in a folder of their own."""
    environment = perps_environment(environment, database, exchange.base_url)

    def start(lines: str) -> subprocess.Popen[str]:
        script = tmp_path / "script.py"
        script.write_text(lines)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, script], env=environment, cwd=tmp_path, **pipes)

    return start


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, ""), out + err
    return out


def test_a_script_loads_and_builds_prints_nothing_and_is_left_as_it_was(program, database, exchange):
    told = said(
        program(
            WATCHED
            + f"""
loaded = backfill(["{BTC}"], start="2024-01-30")
again = update()
built = build()
{UNCHANGED}
print(loaded.candles, loaded.requests, again.candles, built)
"""
        )
    )
    assert told == "{'BTC-PERPETUAL': 1440} 3 {'BTC-PERPETUAL': 0} BuildResult(success=True, failed=())\n"
    assert table(database) == truth(exchange.base_url, BTC, "2024-01-30", NOW)


def test_failures_come_as_results_and_errors_and_leave_it_as_it_was(program, database, exchange):
    bad = {"kind": "http", "status": 400, "start": "2024-01-20", "end": "2024-01-21"}
    control(exchange.base_url, "faults", [bad])
    told = said(
        program(
            WATCHED
            + f"""
def error(call, kind):
    try:
        call()
    except kind as error:
        assert isinstance(error, kind)
        return error

backfill("{BTC}", start="2024-01-30")  # so that the gap has an end, whichever window fails first
incomplete = error(lambda: backfill("{BTC}", start="2024-01-16", only="candles"), IncompleteError)
(failed,) = incomplete.result.failed
print(incomplete.result.candles["{BTC}"] > 0, failed.error)
print(error(lambda: backfill("{BTC}", resolution="7"), UsageError))
print(error(lambda: update(database="mysql://x/y"), UsageError))
print(error(lambda: update(database="postgresql://nobody:x@127.0.0.1:1/none"), PerpsError))
built = build(["+perpetuals_ohlcv_no_gaps"])
print(built.success, any(str(node).startswith("perpetuals_ohlcv_no_gaps (") for node in built.failed))
{UNCHANGED}
"""
        )
    ).splitlines()
    assert (
        told[0]
        == "True expected a json reply, got http 400 with a body that is not json; check DERIBIT_API_URL"
    )
    assert told[1].startswith("expected a resolution of 1, 3")
    assert told[2].startswith("expected database as postgresql://user:password@host:port/name, got something")
    assert told[3].startswith("could not connect to 127.0.0.1:1/none: ")
    assert told[4] == "False True"


def test_a_database_is_named_by_its_url_whatever_the_variables_say(program, database, exchange):
    told = said(
        program(
            f"""
import os
os.environ |= {{"PGHOST": "192.0.2.1", "PGPORT": "1", "PGDATABASE": "other", "PGUSER": "nobody"}}
from extract import update
print(update("{BTC}", "1D", database="{database.url()}", api_url=os.environ.pop("DERIBIT_API_URL")).candles)
"""
        )
    )
    (count,) = rows(database, "select count(*) from deribit_raw.candles")[0]
    assert told == f"{{'{BTC}': {count}}}\n"
    assert count > 1000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_program_that_ends_takes_its_command_with_it_and_the_next_run_completes(
    program, database, exchange, number
):
    control(exchange.base_url, "faults", [{"kind": "hang", "seconds": 0.3}])
    lines = f"""
from extract import backfill
try:
    backfill("{BTC}", start="2023-11-01", load_candles=5000)
except KeyboardInterrupt:
    print("interrupted")
"""
    process = program(lines)
    wait_for(
        lambda: "candles" in raw_tables(database) and rows(database, "select 1 from deribit_raw.candles")
    )
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("interrupted\n" if number == signal.SIGINT else "", "")
    locked = "select count(*) from pg_locks where locktype = 'advisory' and granted"
    wait_for(lambda: rows(database, locked) == [(0,)])
    control(exchange.base_url, "faults", [])
    said(program(f'import extract\nextract.backfill("{BTC}", start="2023-11-01")\n'))
    counted = rows(database, "select count(distinct timestamp), count(*) from deribit_raw.candles")
    assert counted == [(91 * 1440, 91 * 1440)]


def raw_tables(database: Database) -> list[str]:
    return [
        name for (name,) in rows(database, "select tablename from pg_tables where schemaname = 'deribit_raw'")
    ]


def wait_for(happens: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_importing_extract_is_cheap_and_what_it_promises_is_there():
    lines = """
import sys, json, extract
heavy = [name for name in ("dlt", "dbt", "pyarrow", "psycopg2", "numpy") if name in sys.modules]
print(json.dumps([heavy, [name for name in extract.__all__ if not callable(getattr(extract, name))]]))
try:
    extract.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
assert set(extract.__all__) <= set(dir(extract))
"""
    ran = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(ran.stdout) == [[], []]
