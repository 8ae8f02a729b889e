"""The tables that increments, checks and queries are measured on: loaded and built once."""

from __future__ import annotations

from extract.database.database import Database
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.spans import Span, iso, newest
from tests.benchmarks.stage import Stage
from tests.support.truth import rows

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BUILT = ("dbt", "--", "run")
SEEDED = ("dbt", "--", "seed")


def holes(span: Span, count: int) -> list[int]:
    """Return where hours were left out (ms): a day apart, in the oldest quarter of a span."""
    first = (span.start_ms + (span.end_ms - span.start_ms) // 8) // DAY_MS * DAY_MS
    return [first + number * DAY_MS for number in range(count)]


def loaded(stage: Stage, results: Results, plan: Plan, size: int) -> Database:
    """Return a database with this many newest candles, built, but for an hour a run that was never asked.

    It is made once and shared by the scenarios; whoever comes first decides how many hours are missing.
    """
    name = f"table_{size}"
    if stage.has_database(name):
        return stage.server.database(dbname=name)
    span, database = newest(size), stage.fresh(name)
    exchange = stage.unlimited(span.end_ms)
    results.progress(f"making a table of {span.candles:,} candles")
    begins = [span.start_ms, *(hole + HOUR_MS for hole in holes(span, plan.runs))]
    ends = [*holes(span, plan.runs), span.end_ms]
    for start, end in reversed(list(zip(begins, ends, strict=True))):
        flags = ("--instruments", span.instruments, "--start", iso(start), "--end", iso(end))
        stage.perps("backfill", *flags, database=database, exchange=exchange)
    stage.perps(*SEEDED, database=database)
    build = stage.perps(*BUILT, database=database)
    assert build.dbt
    case = f"first dbt run of {size:,} in one go"
    results.add(case, "seconds without start-up", build.seconds - build.dbt.startup, "s")
    for name, seconds in sorted(build.dbt.nodes.items(), key=lambda node: -node[1])[:3]:
        results.add(f"{case}: {name}", "seconds", seconds, "s")
    return database


def repaired(stage: Stage, results: Results, plan: Plan, size: int) -> Database:
    """Return such a database without a missing hour."""
    database, span = loaded(stage, results, plan, size), newest(size)
    stage.perps("repair", database=database, exchange=stage.unlimited(span.end_ms + DAY_MS))
    stage.perps(*BUILT, database=database)
    if (found := rows(database, "select count(*) from perpetuals_ohlcv")[0][0]) < span.candles:
        results.note(f"WRONG: {found:,} candles in perpetuals_ohlcv, expected {span.candles:,}")
    return database
