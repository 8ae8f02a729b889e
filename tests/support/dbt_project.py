"""A dbt project against raw tables written by plain SQL: what the dbt tests stand on."""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch
from zlib import crc32

import pytest
from dbt.cli.main import dbtRunner

from extract.database.database import Database
from extract.database.raw_tables import SERIES, series_table
from tests.support.perps import PROJECT
from tests.support.private import spare_the_stack
from tests.support.truth import Row, checksum, execute
from tests.support.waiting import wait_until

spare_the_stack()
DAY = 1440
"""Minutes."""

START = datetime(2024, 1, 1, tzinfo=UTC)

RAW_TABLES = """
create extension if not exists timescaledb;
create schema deribit_raw;
create table deribit_raw.fetches (
    instrument varchar, resolution varchar, window_start timestamptz, window_end timestamptz, rows bigint,
    new_rows bigint, changed_rows bigint, fetched_at timestamptz, origin varchar, _dlt_load_id varchar,
    endpoint varchar not null default 'candles'
);
create index fetches_load on deribit_raw.fetches ((_dlt_load_id::numeric));
create table deribit_raw.instruments (
    instrument varchar, base_currency varchar, quote_currency varchar, settlement_currency varchar,
    instrument_type varchar, tick_size double precision, contract_size double precision,
    min_trade_amount double precision, created_at timestamptz, is_active boolean, ended_at timestamptz,
    seen_at timestamptz, _dlt_load_id varchar
);
create table deribit_raw._dlt_loads (
    load_id varchar, schema_name varchar, status bigint, inserted_at timestamptz, schema_version_hash varchar
);
create index loads_number on deribit_raw._dlt_loads ((load_id::numeric));
create index loads_unfinished on deribit_raw._dlt_loads (load_id) where status <> 0;
"""
RAW_TABLES += "".join(map(series_table, SERIES))

SCHEMAS = """
select nspname from pg_namespace
where nspname in ('deribit_raw', 'staging', 'quality', 'test_failures') or nspname like 'dbt\\_%'
"""

WITHOUT_ROLLUPS = ("--exclude", "path:dbt_project/models/rollups")
"""Most tests are not about rollups, and six more models take a second of each build."""


class Candle(NamedTuple):
    """A row of deribit_raw.candles without its load: UTC, volume in base coin, cost in quote coin."""

    timestamp: datetime
    instrument: str = "BTC-PERPETUAL"
    resolution: str = "1"
    open: float | None = 100.0
    high: float | None = 110.0
    low: float | None = 90.0
    close: float | None = 105.0
    volume: float | None = 2.5
    cost: float | None = 250.0


def minute(number: int) -> datetime:
    """Return the open of the minute `number` after START."""
    return START + timedelta(minutes=number)


def candles(first: int, last: int, **columns: Any) -> list[Candle]:
    """Return one candle for each minute from `first` up to, not including, `last`."""
    return [Candle(minute(number), **columns) for number in range(first, last)]


@dataclass(frozen=True)
class DbtResult:
    """How a dbt command ended, and everything that it said."""

    success: bool
    output: str
    statuses: dict[str, str]


@dataclass(frozen=True)
class DbtProcess:
    """A dbt command in a process of its own; `said` is the file of its stdout and stderr."""

    process: ForkProcess
    said: Path

    def kill(self) -> None:
        """Send SIGKILL, which leaves the process no time to tidy up."""
        self.process.kill()

    def wait(self, seconds: float = 120) -> int:
        """Wait for the end and return the exit code, the negative number of the signal that killed it."""
        self.process.join(seconds)
        code = self.process.exitcode
        assert code is not None, f"expected dbt to end within {seconds} s, got:\n{self.said.read_text()}"
        return code


@dataclass(frozen=True)
class DbtProject:
    """The repository's dbt project on one database, with profiles, target and logs in `work`."""

    database: Database
    work: Path
    project: Path = field(default=PROJECT)
    target: str = "default"

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / "profiles.yml.example", self.work / "profiles.yml")

    def arguments(self, *command: str) -> list[str]:
        """Return a dbt command line without the program's name."""
        places = ["--project-dir", self.project, "--profiles-dir", self.work, "--target", self.target]
        places += ["--target-path", self.parsed(*command), "--log-path", self.work / "logs"]
        return ["--no-use-colors", "--no-write-json", "--log-level-file", "none", *command, *map(str, places)]

    def parsed(self, *command: str) -> Path:
        """Return the target folder of a command: one for each set of variables, for which dbt parses anew."""
        variables = command[command.index("--vars") + 1] if "--vars" in command else ""
        return self.work / f"target{crc32(variables.encode()) or ''}"

    def environment(self) -> dict[str, str]:
        """Return the variables of this process with the database filled in."""
        return {**os.environ, **self.database.env()}

    def start(self, *command: str) -> DbtProcess:
        """Start dbt as a process of its own, which can be killed and waited for."""
        handle, said = tempfile.mkstemp(dir=self.work, suffix=".out")
        os.close(handle)
        # a fork has dbt imported and warm; a program that starts needs several times as long as the build
        process = multiprocessing.get_context("fork").Process(
            target=_run_as_a_process, args=(self.arguments(*command), self.environment(), Path(said))
        )
        process.start()
        return DbtProcess(process, Path(said))

    def run(self, *command: str) -> DbtResult:
        """Run dbt in this process, which saves its start-up, and return how it ended."""
        said: list[str] = []
        # protobuf's message, whose fields mypy does not know
        dbt = dbtRunner(callbacks=[lambda event: said.append(str(getattr(event.info, "msg")))])  # noqa: B009
        with patch.dict(os.environ, self.environment()):
            # nobody reads the console, and dbt would write each of its debug messages into it
            ended = dbt.invoke(["--log-level", "none", *self.arguments(*command)])
        results = [each for each in getattr(ended.result, "results", []) if hasattr(each, "node")]
        hook = "operation"
        statuses = {each.node.name: str(each.status) for each in results if each.node.resource_type != hook}
        return DbtResult(ended.success, "\n".join([*said, str(ended.exception or "")]), statuses)

    def build(self, *arguments: str, rollups: bool = False) -> DbtResult:
        """Run `dbt run` for what is named, by default everything but rollups, and expect success."""
        outcome = self.run("run", *(arguments or (() if rollups else WITHOUT_ROLLUPS)))
        assert outcome.success, outcome.output
        return outcome

    def query(self, sql: str) -> list[Row]:
        """Run one statement in a transaction of its own and return its rows."""
        return execute(self.database, sql)

    @contextmanager
    def holding(self, statement: str) -> Iterator[None]:
        """Hold what `statement` locks or changes in an open transaction, which is undone afterwards."""
        opened = self.database.connect(autocommit=False)
        try:
            with opened.cursor() as cursor:
                cursor.execute(statement)
            yield
        finally:
            opened.close()

    def locked(self, table: str) -> AbstractContextManager[None]:
        """Hold `table` so that whoever wants to read or write it waits."""
        return self.holding(f"lock table {table} in access exclusive mode")

    def waiting(self, kind: str) -> int:
        """Return how many sessions wait for a lock of `kind`: relation or advisory."""
        waits = f"select count(*) from pg_locks where not granted and locktype = '{kind}'"
        return int(self.query(waits)[0][0])

    def settle(self) -> None:
        """Wait for the end of dbt's sessions: each hands its counts over as it ends."""
        others = (
            "select 1 from pg_stat_activity where datname = current_database()"
            " and backend_type = 'client backend' and pid <> pg_backend_pid()"
        )
        wait_until(lambda: not self.query(others), "the sessions of dbt to end")

    def create_raw_tables(self) -> None:
        """Create deribit_raw as dlt leaves it before the first row."""
        self.query(RAW_TABLES)

    def drop_everything(self) -> None:
        """Return the database to what it was before the raw tables."""
        for rollup in ("", "_5m", "_15m", "_1h", "_4h", "_1d", "_1d_settlement"):
            self.query(f"drop table if exists public.perpetuals_ohlcv{rollup} cascade")
        for table in ("funding", "settlements"):
            self.query(f"drop table if exists public.perpetuals_{table} cascade")
        self.query("drop view if exists public.perpetuals, public.perpetuals_changes cascade")
        for (schema,) in self.query(SCHEMAS):
            self.query(f"drop schema {schema} cascade")

    def start_anew(self) -> None:
        """Leave empty raw tables, and nothing built."""
        self.drop_everything()
        self.create_raw_tables()

    def land(self, load_id: str, rows: list[Candle], *, complete: bool = True) -> None:
        """Append `rows` as one load, with a fetch for each run; an incomplete one has status 1."""
        columns = ", ".join((*Candle._fields, "_dlt_load_id"))
        with self.database.reading() as cursor:
            cursor.execute('select instrument, resolution, "timestamp" from deribit_raw.candles')
            known = set(cursor.fetchall())
            for *window, ticks in _runs(rows):
                changed = sum((*window[:2], tick) in known for tick in ticks)
                cursor.execute(
                    "insert into deribit_raw.fetches"
                    " values (%s, %s, %s, %s, %s, %s, %s, '1970-01-01Z', 'simulator', %s)",
                    [*window, len(ticks), len(ticks) - changed, changed, load_id],
                )
            lines = io.StringIO("".join(_copy_line(row, load_id) for row in rows))
            cursor.copy_expert(f"copy deribit_raw.candles ({columns}) from stdin", lines)
        self.complete(load_id, status=0 if complete else 1)

    def answered(
        self, first: datetime, last: datetime, load_id: str = "10.5", resolution: str = "1", rows: int = 0
    ) -> None:
        """Enter an answered request for [first, last) in deribit_raw.fetches; Deribit's clock said `last`."""
        self.query(
            "insert into deribit_raw.fetches values"
            f" ('BTC-PERPETUAL', '{resolution}', '{first}', '{last}', {rows}, 0, 0, '{last}', 'simulator',"
            f" '{load_id}')"
        )

    def complete(self, load_id: str, status: int = 0) -> None:
        """Enter a load in _dlt_loads; status 0 is complete."""
        self.query(
            f"delete from deribit_raw._dlt_loads where load_id = '{load_id}';"
            " insert into deribit_raw._dlt_loads"
            f" values ('{load_id}', 'deribit', {status}, to_timestamp({load_id}), 'hash')"
        )

    def checksum(self) -> Row:
        """Return the number of rows of perpetuals_ohlcv and a hash of them all."""
        return checksum(self.database)

    def reread(self, model: str) -> DbtResult:
        """Have a model read all loads again in its next build."""
        return self.run("run-operation", "reread_loads", "--args", f"{{model: {model}}}")


def parsed_once(database: Database, factory: pytest.TempPathFactory) -> DbtProject:
    """Return the project in a folder that all modules of this process share, so that dbt parses it once."""
    return DbtProject(database, factory.getbasetemp() / f"dbt-{database.dbname}")


def own_project(database: Database, work: Path) -> DbtProject:
    """Return a project whose files a test may change, in `work`."""
    copy = work / "project"
    shutil.copytree(PROJECT / "dbt_project", copy / "dbt_project")
    shutil.copyfile(PROJECT / "dbt_project.yml", copy / "dbt_project.yml")
    return DbtProject(database, work / "work", copy)


def _run_as_a_process(arguments: list[str], environment: dict[str, str], said: Path) -> None:
    os.environ.update(environment)
    with said.open("w") as output, redirect_stdout(output), redirect_stderr(output):
        success = dbtRunner().invoke(arguments).success
    sys.exit(0 if success else 1)


def _runs(rows: list[Candle]) -> Iterator[tuple[str, str, datetime, datetime, list[datetime]]]:
    """Yield the windows that were answered with these candles: buckets that touch make one."""
    last: tuple[str, str] | None = None
    ticks: list[datetime] = []
    start = end = START
    for instrument, resolution, tick in sorted(
        {(row.instrument, row.resolution, row.timestamp) for row in rows}
    ):
        step = timedelta(minutes=1440 if resolution == "1D" else int(resolution))
        anchor = datetime(1970, 1, 1, 8 if step >= timedelta(hours=12) else 0, tzinfo=UTC)
        opens = tick - (tick - anchor) % step
        if (instrument, resolution) != last or opens > end:
            if ticks and last:
                yield *last, start, end, ticks
            last, ticks, start = (instrument, resolution), [], opens
        ticks.append(tick)
        end = opens + step
    if ticks and last:
        yield *last, start, end, ticks


def _copy_line(row: Candle, load_id: str) -> str:
    return "\t".join(r"\N" if value is None else str(value) for value in (*row, load_id)) + "\n"
