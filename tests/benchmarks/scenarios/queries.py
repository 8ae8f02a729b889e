"""Queries that users write, on the large table: how long, and how many chunks they open."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from psycopg2.extensions import cursor as PgCursor

from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.scenarios.base import repaired
from tests.benchmarks.stage import Stage

FOLDER = Path(__file__).resolve().parent.parent / "queries"
WARM_RUNS = 5


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Time each file of queries/ and look at its plan."""
    database = repaired(stage, results, plan, plan.full)
    lines = ["| query | rows | median ms | chunks opened |", "|---|---:|---:|---:|"]
    with database.reading() as cursor:
        cursor.execute("vacuum analyze perpetuals_ohlcv")
        chunks = _chunks(cursor)
        for file in sorted(FOLDER.glob("*.sql")):
            results.progress(file.name)
            question, _, query = file.read_text(encoding="utf-8").partition("\n")
            question = question.removeprefix("--").strip()
            cursor.execute(query)
            rows = len(cursor.fetchall())
            times = [milliseconds(cursor, query) for _ in range(WARM_RUNS)]
            cursor.execute(f"explain (analyze, timing off, format json) {query}")
            opened = len({name for name in _scanned(cursor.fetchone()[0][0]["Plan"]) if name in chunks})
            for took in times:
                results.add(file.stem, "milliseconds", took, "ms")
            results.add(file.stem, "chunks opened", opened, f"of {len(chunks)}")
            lines.append(f"| {question} | {rows:,} | {median(times):,.1f} | {opened} of {len(chunks)} |")
    results.table("\n".join(lines))
    results.note(f"Median of {WARM_RUNS} warm runs, rows fetched. Chunks are those of perpetuals_ohlcv.")


def milliseconds(cursor: PgCursor, query: str) -> float:
    """Return how long a query took until its rows were here."""
    began = time.monotonic()
    cursor.execute(query)
    cursor.fetchall()
    return (time.monotonic() - began) * 1000


def _chunks(cursor: PgCursor) -> set[str]:
    cursor.execute(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'perpetuals_ohlcv'::regclass"
    )
    return {name.rpartition(".")[2] for (name,) in cursor.fetchall()}


def _scanned(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the tables that a plan really opened."""
    if plan.get("Actual Loops") and "Relation Name" in plan:
        yield plan["Relation Name"]
    for part in plan.get("Plans", []):
        yield from _scanned(part)
