"""What the tables take on disk, and what the columnstore changes: size, queries, late candles, idle builds.

On the Apache edition only the sizes are measured. Another server is measured with PERPS_CACHE.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from extract.database.database import Database
from extract.simulator.candles import MINUTE_MS
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.scenarios.base import DAY_MS, HOUR_MS, repaired
from tests.benchmarks.scenarios.queries import FOLDER, WARM_RUNS, milliseconds
from tests.benchmarks.spans import BTC, iso, newest
from tests.benchmarks.stage import BUILD, Stage
from tests.support.truth import control, rows

RUN = ("dbt", "--", "run")
GOAL_MB = "at most 150"
LATE_MS = int(datetime(2022, 11, 15, 12, 34, tzinfo=UTC).timestamp()) * 1000

HYPERTABLES = """
select hypertable_schema || '.' || hypertable_name
from timescaledb_information.hypertables
order by 1
"""

CHUNKS = """
select format('%%I.%%I', chunk_schema, chunk_name), _timescaledb_functions.chunk_status(
    format('%%I.%%I', chunk_schema, chunk_name)::regclass)
from timescaledb_information.chunks
where hypertable_schema || '.' || hypertable_name = %s
order by 1
"""

POLICIES = "select job_id, config::text, next_start::text from timescaledb_information.jobs order by 1"


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Measure rows as they are loaded, then compressed, then after a late candle, then after nothing."""
    database = repaired(stage, results, plan, plan.full)
    edition = _value(database, "show timescaledb.license")
    version = _value(database, "select extversion from pg_extension where extname = 'timescaledb'")
    results.note(f"TimescaleDB {version}, {edition} edition.")
    _sizes(results, database, "as rows")
    if edition == "apache":
        results.note("This edition has no columnstore: everything stays as rows.")
        return
    _queries(results, database, "as rows")
    _keep_up(stage, results, database, "upkeep that compresses")
    _sizes(results, database, "compressed", goal=GOAL_MB)
    _queries(results, database, "compressed")
    _late(stage, results, plan, database)
    _idle(stage, results, database)


def _late(stage: Stage, results: Results, plan: Plan, database: Database) -> None:
    """Load a minute of three years ago again, which the exchange has changed meanwhile."""
    span = newest(plan.full)
    at = max(LATE_MS, span.start_ms + HOUR_MS)
    exchange = stage.unlimited(span.end_ms + 2 * DAY_MS)
    revision = {"kind": "revision", "instrument": BTC, "at": at, "since": 0, "values": {"volume": 7.5}}
    control(exchange.base_url, "faults", [revision])
    flags = ("--instruments", BTC, "--start", iso(at), "--end", iso(at + MINUTE_MS))
    stage.perps("backfill", *flags, database=database, exchange=exchange)
    cost = stage.perps(*RUN, database=database)
    results.add("late candle, dbt run", "seconds without start-up", cost.seconds - cost.dbt.startup, "s")
    for table in _tables(database):
        opened = [name for name, status in _chunks(database, table) if status != 1]
        open_rows = sum(_value(database, f"select count(*) from only {name}") for name in opened)
        results.add(f"late candle, {table}", "chunks decompressed in part", len(opened))
        results.add(f"late candle, {table}", "rows decompressed", open_rows)
    held = f"select volume from perpetuals_ohlcv where instrument = '{BTC}' and timestamp = '{iso(at)}'"
    if float(_value(database, held)) != 7.5:
        results.note("WRONG: the late candle is not in the table")
    _keep_up(stage, results, database, "upkeep after the late candle")
    _sizes(results, database, "after the late candle", goal=GOAL_MB)
    control(exchange.base_url, "faults", [])


def _idle(stage: Stage, results: Results, database: Database) -> None:
    """Build once more: no row, policy or chunk may change."""
    before = _state(database)
    cost = stage.perps(*BUILD, database=database)
    assert cost.counted
    results.add("build of nothing", "rows written to hypertables", cost.counted.written["ohlcv"], goal="0")
    changed = sum(one != other for one, other in zip(before, _state(database), strict=True))
    results.add("build of nothing", "chunks, sizes and policies changed", changed, goal="0")


def _keep_up(stage: Stage, results: Results, database: Database, case: str) -> None:
    cost = stage.perps("dbt", "--", "run-operation", "upkeep", database=database)
    results.add(case, "seconds, process", cost.seconds, "s")


def _sizes(results: Results, database: Database, case: str, goal: str = "") -> None:
    for table in _tables(database):
        size = _value(database, f"select hypertable_size('{table}')")
        held = _value(database, f"select count(*) from {table}")
        results.add(f"{table} {case}", "rows", held)
        results.add(
            f"{table} {case}",
            "megabytes",
            size / 1e6,
            "MB",
            goal if table == "public.perpetuals_ohlcv" else "",
        )
        results.add(f"{table} {case}", "bytes a row", size / max(held, 1), "bytes")
        results.add(f"{table} {case}", "chunks", len(_chunks(database, table)))


def _queries(results: Results, database: Database, case: str) -> None:
    with database.reading() as cursor:
        cursor.execute("vacuum analyze perpetuals_ohlcv")
        for file in sorted(FOLDER.glob("*.sql")):
            query = file.read_text(encoding="utf-8").partition("\n")[2]
            results.progress(f"{file.name} {case}")
            for _ in range(WARM_RUNS + 1):
                results.add(f"{file.stem} {case}", "milliseconds", milliseconds(cursor, query), "ms")


def _state(database: Database) -> list[object]:
    tables = _tables(database)
    sizes = [_value(database, f"select hypertable_size('{table}')") for table in tables]
    return [[_chunks(database, table) for table in tables], sizes, rows(database, POLICIES)]


def _tables(database: Database) -> list[str]:
    return [name for (name,) in rows(database, HYPERTABLES)]


def _chunks(database: Database, table: str) -> list[tuple[str, int]]:
    return rows(database, CHUNKS, table)


def _value(database: Database, query: str) -> Any:
    return rows(database, query)[0][0]
