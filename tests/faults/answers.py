"""What a person sees for every class of bad answer; `python -m tests.faults.answers` prints the table."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from extract.cli.repair import repair_gaps
from extract.core.resolution import HOUR_MS, RESOLUTIONS
from extract.database.database import Database
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.load.endpoint import candles
from extract.load.loader import Loader
from extract.load.result import IncompleteError
from extract.simulator import RunningSimulator
from tests.support.bad_answers import ANSWERS, FAILED, BadAnswer
from tests.support.dbt_project import DbtProject
from tests.support.exchange import ETH as HEALTHY
from tests.support.exchange import charts, set_faults, simulated
from tests.support.own_server import own_server
from tests.support.people import run_here
from tests.support.truth import Row, rows, table, truth

MINUTES = candles(RESOLUTIONS["1"])
DAY = 1_751_328_000_000  # 2025-07-01
BEFORE, DURING, AFTER = ((DAY + n * HOUR_MS, DAY + (n + 6) * HOUR_MS) for n in (0, 6, 12))
EXCHANGE = {"clock": "2025-07-01T18:00:30Z", "extra_instruments": len(ANSWERS)}
INSTRUMENTS = {bad.name: f"SIM{number:03d}_USDC-PERPETUAL" for number, bad in enumerate(ANSWERS, 1)}
ATTEMPTS = 3
SLOW_S = 2.0
GAPS = "select instrument, sum(gap_minutes)::int from quality.ohlcv_gaps group by 1"

OTHER = """
select
    (
        select sum(rows)::int from deribit_raw.fetches
        where instrument = %s and _dlt_load_id::numeric > %s and endpoint = 'candles'
    ),
    (select count(*) from deribit_raw.candles where instrument = %s)
"""


@dataclass(frozen=True)
class Seen:
    """A command with nothing but bad answers to a window.

    Attributes:
        code: how it ended.
        stderr: what it said.
        other: of the healthy instrument, candles that the command was answered, and that have landed so far.
    """

    code: int
    stderr: str
    other: tuple[int, int]

    @property
    def line(self) -> str:
        """The line for a person; empty when there was nothing to say."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        return lines[-1] if lines else ""


@dataclass
class Played:
    """What came of all classes, first for an answer or two each, then for as long as it took."""

    failed_at_once: set[str]
    hit_in_passing: set[str | None]
    seen: dict[str, Seen] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    held: dict[str, list[Row]] = field(default_factory=dict)
    recovered: dict[str, list[Row]] = field(default_factory=dict)
    true: dict[str, list[Row]] = field(default_factory=dict)
    recovery_s: float = 0.0


def play(exchange: RunningSimulator, dbt: DbtProject, work: Path, together: int = 1) -> Played:
    """Hit an instrument a class: six hours in passing, six hours for good, six hours not at all; then mend.

    Args:
        exchange: whose answers go bad.
        dbt: the project on an empty database.
        work: folder for files.
        together: how many classes that fail share a command; its line names three. The others share one, but
            for 1: then each class has a command of its own.
    """
    database, names = dbt.database, list(INSTRUMENTS.values())
    with impatient():
        loader = Loader(client(exchange.base_url), database, work / "pipelines")
        passing = [hit(bad, BEFORE, times=2 if bad.lasting == FAILED else 1) for bad in ANSWERS]
        set_faults(exchange, *passing)
        failed = backfill(loader, names)
        played = Played(failed, {asked.instrument for asked in charts(exchange) if asked.fault})
        set_faults(exchange)
        loader.backfill(names, [MINUTES], AFTER)
        for group in groups(together):
            set_faults(exchange, *(hit(bad, DURING) for bad in group))
            hurt = [INSTRUMENTS[bad.name] for bad in group]
            seen = command(exchange.base_url, database, work, hurt)
            played.seen |= {bad.name: seen for bad in group}
    set_faults(exchange)
    build(dbt)
    played.gaps = dict(rows(database, GAPS))
    played.held = by_instrument(database)
    began = time.monotonic()
    loader.update([], [MINUTES])
    build(dbt)
    with redirect_stdout(io.StringIO()):
        repair_gaps(loader, again=True)
    build(dbt)
    played.recovery_s = time.monotonic() - began
    played.recovered = by_instrument(database)
    start, end = str(BEFORE[0]), str(AFTER[1])
    played.true = {name: truth(exchange.base_url, name, start, end) for name in names}
    return played


def groups(together: int) -> list[list[BadAnswer]]:
    """Return the classes that share a command."""
    failing = [bad for bad in ANSWERS if bad.lasting == FAILED]
    others = [bad for bad in ANSWERS if bad.lasting != FAILED]
    apart = [others] if together > 1 else [[bad] for bad in others]
    return [failing[at : at + together] for at in range(0, len(failing), together)] + apart


def hit(bad: BadAnswer, window: tuple[int, int], **more: int) -> dict[str, Any]:
    """Return the fault of a class for its instrument and a window."""
    # requests of the windows beside reach up to three buckets into this one
    edge = 5 * MINUTES.resolution.step_ms
    bounds = {"start": window[0] + edge, "end": window[1] - edge}
    return {**bad.fault, "instrument": INSTRUMENTS[bad.name], **bounds, **more}


def backfill(loader: Loader, names: list[str]) -> set[str]:
    """Load the first six hours; return the instruments without an answer."""
    try:
        loader.backfill(names, [MINUTES], BEFORE)
    except IncompleteError as error:
        return {answer.window.instrument for answer in error.result.failed}
    return set()


def command(api: str, database: Database, work: Path, instruments: list[str]) -> Seen:
    """Run `perps backfill` of instruments and a healthy one in this process."""
    newest = rows(database, "select max(load_id::numeric) from deribit_raw._dlt_loads")[0][0]
    names = ("--instruments", *instruments, HEALTHY)
    times = ("--start", "2025-07-01T06:00", "--end", "2025-07-01T12:00")
    env = {"DERIBIT_API_URL": api, "PERPS_HOME": str(work), **database.env()}
    said = run_here("backfill", *names, *times, env=env)
    return Seen(said.returncode, said.stderr, rows(database, OTHER, HEALTHY, newest, HEALTHY)[0])


def client(api: str) -> DeribitClient:
    """Return a client that gives up soon."""
    return DeribitClient(api, TokenBucket(1000, 100), attempts=ATTEMPTS, sleep=lambda _: None)


@contextmanager
def impatient() -> Iterator[None]:
    """Wait two seconds where a person waits for minutes."""
    with (
        patch("extract.cli.loading.client", lambda settings: client(settings.api_url)),
        patch("extract.deribit.transport.READ_TIMEOUT_S", SLOW_S),
        patch("extract.deribit.body.LONGEST_REPLY_S", SLOW_S),
    ):
        yield


def build(dbt: DbtProject) -> None:
    """Build the table and what finds its gaps."""
    built = dbt.run("build", "--resource-type", "model", "--resource-type", "seed", "--select", "+ohlcv_gaps")
    assert built.success, built.output


def by_instrument(database: Database) -> dict[str, list[Row]]:
    """Return the table's rows of every class's instrument."""
    found: dict[str, list[Row]] = {name: [] for name in INSTRUMENTS.values()}
    for row in table(database):
        found.setdefault(row[1], []).append(row)
    return found


def main() -> None:
    """Play all classes on a server of their own and print what a person sees."""
    with own_server() as (folder, cluster), simulated(**EXCHANGE) as exchange, redirect_stdout(io.StringIO()):
        played = play(exchange, DbtProject(cluster.create_database("answers"), folder / "dbt"), folder)
    print("| every answer is | what comes of it | exit code | what the user sees |\n|---|---|---:|---|")
    for bad in ANSWERS:
        seen = played.seen[bad.name]
        shown = seen.line.replace("|", "\\|").replace("<", "&lt;") or f"gap of {bad.missing} minutes"
        line = "nothing" if not seen.line and not bad.missing else shown
        print(f"| {bad.name} | {bad.lasting} | {seen.code} | {line} |")


if __name__ == "__main__":
    main()
