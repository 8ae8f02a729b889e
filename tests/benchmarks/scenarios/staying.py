"""A run that stays: seconds from the close of a minute to its rows, processor a minute, and what grows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from statistics import quantiles

from psycopg2.extensions import cursor as PgCursor

from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS
from extract.database.database import Database, one_row
from tests.benchmarks.plan import Plan
from tests.benchmarks.processes import cpu_seconds, family, server_cpu_seconds
from tests.benchmarks.results import Results
from tests.benchmarks.spans import BTC, ETH, iso
from tests.benchmarks.stage import BenchmarkError, Stage, module
from tests.support.truth import rows

TWO = f"{BTC},{ETH}"
ROLLUPS = {"5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
EXTRA, ALL = 122, 131
GOALS = {2: ("below 2", "below 3", "below 1.5"), ALL: ("", "below 9", "below 5")}
PATIENCE_S = 50.0


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Measure real minutes of two and of 131 instruments, then many minutes of a simulated clock."""
    for extra in (0, EXTRA):
        _fresh(stage, results, plan, extra)
    _long(stage, results, plan)


@dataclass(frozen=True)
class Observer:
    """Looks whether a minute is in the table and in every rollup of all instruments.

    Attributes:
        cursor: on a session of its own.
        instruments: how many there are.
        start_ms: the oldest candle of all, UTC ms.
    """

    cursor: PgCursor
    instruments: int
    start_ms: int

    def sees(self, opens_ms: int) -> bool:
        """Tell whether the candle that opened then is everywhere, in the last rollup first."""
        return all(
            self._has(suffix, minutes, opens_ms) for suffix, minutes in reversed([("", 1), *ROLLUPS.items()])
        )

    def _has(self, suffix: str, minutes: int, opens_ms: int) -> bool:
        bucket = opens_ms // (minutes * MINUTE_MS) * minutes * MINUTE_MS
        candles = (opens_ms - max(bucket, self.start_ms)) // MINUTE_MS + 1
        table = f"perpetuals_ohlcv_{suffix}" if suffix else "perpetuals_ohlcv"
        whole = f"and candles = {candles}" if suffix else ""
        query = f"select count(*) from {table} where timestamp = to_timestamp({bucket / 1000}) {whole}"
        return bool(one_row(self.cursor, query)[0] == self.instruments)


def _fresh(stage: Stage, results: Results, plan: Plan, extra: int) -> None:
    exchange = stage.ticking(extra)
    database = stage.fresh("staying")
    start_ms = int(time.time()) * 1000 // HOUR_MS * HOUR_MS - HOUR_MS
    names = "all" if extra else TWO
    stage.perps(
        "backfill", "--instruments", names, "--start", iso(start_ms), database=database, exchange=exchange
    )
    flags = ("--every", "60s", "--no-report", "--instruments", names)
    with stage.staying(database, exchange, *flags) as pid, database.reading() as cursor:
        loaded = "select count(distinct instrument) from deribit_raw.candles"
        observer = Observer(cursor, rows(database, loaded)[0][0], start_ms)
        case = f"{observer.instruments} instruments"
        results.progress(f"{case}: the first build")
        _next_minute(observer, 600)  # its first turn builds everything
        postmaster = stage.server.status().pid or 0
        own = rows_pid(cursor)

        def used() -> float:
            return sum(map(cpu_seconds, family(pid))) + server_cpu_seconds(postmaster) - cpu_seconds(own)

        before, lags = used(), []
        for number in range(plan.minutes):
            lags.append(_next_minute(observer, PATIENCE_S))
            results.progress(f"{case}, minute {number + 1} of {plan.minutes}: {lags[-1]:.2f} s")
        time.sleep(5)  # the rest of the last minute's work
        processor = (used() - before) / plan.minutes
    goals = GOALS.get(observer.instruments, ("", "", ""))
    spread = quantiles(lags, n=100, method="inclusive") if len(lags) > 1 else lags * 99
    results.add(case, "close to rows in every table, median", spread[49], "s", goals[0])
    results.add(case, "close to rows in every table, p95", spread[94], "s", goals[1])
    results.add(case, "close to rows in every table, most", max(lags), "s")
    results.add(case, "processor a minute, server included", processor, "s", goals[2])
    results.note(f"{plan.minutes} real minutes, 20 requests a second, 100 ms latency; --at is its default.")


def rows_pid(cursor: PgCursor) -> int:
    """Return the process of a session, whose work is not the run's."""
    return int(one_row(cursor, "select pg_backend_pid()")[0])


def _next_minute(observer: Observer, most_s: float) -> float:
    """Wait for the next close of a minute; return how long after it all of its rows are there, in seconds.

    Raises:
        BenchmarkError: they are not there after `most_s`.
    """
    now_ms = time.time_ns() // 1_000_000
    close_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS
    time.sleep((close_ms - now_ms) / 1000)
    while not observer.sees(close_ms - MINUTE_MS):
        if time.time() - close_ms / 1000 > most_s:
            raise BenchmarkError(
                f"the minute that closed at {iso(close_ms)} is not there after {most_s:.0f} s"
            )
        time.sleep(0.05)
    return time.time() - close_ms / 1000


def _long(stage: Stage, results: Results, plan: Plan) -> None:
    end_ms = plan.clock_ms // DAY_MS * DAY_MS
    exchange, database = stage.unlimited(end_ms), stage.fresh("turns")
    flags = ("--instruments", TWO, "--start", iso(end_ms - DAY_MS))
    stage.perps("backfill", *flags, database=database, exchange=exchange)
    cost = stage.measure(module("turns", str(plan.turns)), database, exchange)
    samples = [json.loads(line) for line in cost.output.splitlines() if line.startswith('{"turns"')]
    for at in samples:
        turns = at.pop("turns")
        for metric, value in at.items():
            results.add(f"after {turns:,} minutes", metric, value)
    _expect_whole(database, plan)
    results.note(f"{plan.turns:,} minutes of a simulated clock: two instruments, without an API limit.")


def _expect_whole(database: Database, plan: Plan) -> None:
    candles = rows(database, "select count(*) from perpetuals_ohlcv")[0][0]
    if candles != 2 * (1440 + plan.turns):
        raise BenchmarkError(f"expected {2 * (1440 + plan.turns):,} candles, got {candles:,}")
