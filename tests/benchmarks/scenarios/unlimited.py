"""Landing and first builds without an API limit, against what PostgreSQL itself can do with the same rows."""

from __future__ import annotations

from functools import partial

from tests.benchmarks import limit
from tests.benchmarks.costs import add_costs, add_peaks
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.spans import newest
from tests.benchmarks.stage import BUILD, Stage, last_load

CASTING = [f"limit INSERT, {name}" for name, cast in limit.INSERTS.items() if cast]
TABLE = ("dbt", "--", "run", "--select", "stg_candles", "perpetuals_ohlcv")


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Land, build and repeat the bare minimum of both, `plan.runs` times, each in a new database."""
    for number in range(plan.runs):
        results.progress(f"run {number + 1}: landing {plan.full:,}")
        landed = _land(stage, results, plan)
        results.progress(f"run {number + 1}: building")
        built = _build(stage, results)
        results.progress(f"run {number + 1}: limit")
        copied, inserted = _limit(stage, results, newest(plan.full).candles)
        results.add("landing / limit COPY", "candles/s", landed / copied, "x", "0.5 or more")
        results.add("first build / limit INSERT", "seconds", built / inserted, "x", "1.3 or less")
        case = "first build of perpetuals_ohlcv"
        work = results.last(case, "CPU server") / min(results.last(each, "CPU server") for each in CASTING)
        results.add("first build / limit INSERT", "CPU server", work, "x")
    results.note(
        "perps backfill is the whole process; 'while landing' is from its first candle request to its last "
        "load. limit COPY is one COPY of the same rows, prepared in binary, into a twin of the raw table."
    )
    results.note(
        "limit INSERT is the bare INSERT SELECT DISTINCT ON into a hypertable with the primary key alone and "
        "the table's chunk interval; the ratio is to the faster one with casts."
    )


def _land(stage: Stage, results: Results, plan: Plan) -> float:
    """Return candles a second of the whole process."""
    span, database = newest(plan.full), stage.fresh()
    exchange = stage.unlimited(span.end_ms)
    cost = stage.perps("backfill", *span.flags(), database=database, exchange=exchange)
    ended = last_load(database) - cost.started + cost.began
    landing = ended - exchange.first_request_after(cost.began)
    results.add("perps backfill", "seconds", cost.seconds, "s")
    results.add("perps backfill", "candles/s", span.candles / cost.seconds, "/s", "150,000 or more")
    results.add("perps backfill", "candles/s while landing", span.candles / landing, "/s")
    add_costs(results, "perps backfill", cost)
    add_peaks(results, "perps backfill", cost)
    return span.candles / cost.seconds


def _build(stage: Stage, results: Results) -> float:
    """Return the seconds of the model perpetuals_ohlcv."""
    database = stage.server.database(dbname="bench")
    table = stage.perps(*TABLE, database=database)
    assert table.dbt
    seconds = table.dbt.nodes["perpetuals_ohlcv"]
    results.add("first build of perpetuals_ohlcv", "seconds, model", seconds, "s")
    results.add("first build of perpetuals_ohlcv", "seconds, process", table.seconds, "s")
    add_costs(results, "first build of perpetuals_ohlcv", table)
    add_peaks(results, "first build of perpetuals_ohlcv", table)
    rest = stage.perps(*BUILD, database=database)
    assert rest.dbt
    results.add("first build of the rest", "seconds, process", rest.seconds, "s")
    results.add("first build of the rest", "seconds, models", sum(rest.dbt.nodes.values()), "s")
    results.add("first build of the rest", "seconds, tests", sum(rest.dbt.tests.values()), "s")
    add_costs(results, "first build of the rest", rest)
    for name, took in sorted(rest.dbt.nodes.items(), key=lambda node: -node[1]):
        if name != "perpetuals_ohlcv" and took >= 0.2:
            results.add(f"first build of {name}", "seconds, model", took, "s")
    return seconds


def _limit(stage: Stage, results: Results, candles: int) -> tuple[float, float]:
    """Return the candles a second of a plain COPY and the seconds of the faster INSERT SELECT with casts."""
    database, file = stage.server.database(dbname="bench"), stage.home / "rows.bin"
    limit.write_rows(database, file)
    took = {}
    works = {"limit COPY": partial(limit.copy_seconds, database, file)}
    for name, cast in limit.INSERTS.items():
        works[f"limit INSERT, {name}"] = partial(limit.insert_seconds, database, cast)
    for case, work in works.items():
        stage.checkpoint()
        before = stage.server_cpu()
        took[case] = work()
        used = stage.server_cpu() - before
        results.add(case, "seconds", took[case], "s")
        results.add(case, "candles/s", candles / took[case], "/s")
        results.add(case, "CPU server", used, "s")
    file.unlink()
    return candles / took["limit COPY"], min(took[case] for case in CASTING)
