"""Exports of the whole table, beside psql's `\\copy` of the same rows in the same order."""

from __future__ import annotations

from tests.benchmarks.costs import add_costs, add_peaks
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.scenarios.base import repaired
from tests.benchmarks.spans import newest
from tests.benchmarks.stage import Stage

ROWS = 'select * from perpetuals_ohlcv order by instrument, "timestamp"'
COPY = f"\\copy ({ROWS}) to '{{}}' with (format csv, header)"


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Write everything, each way once a run, side by side."""
    database, candles = repaired(stage, results, plan, plan.full), newest(plan.full).candles
    psql = str(stage.server.program("psql"))
    for number in range(plan.runs):
        results.progress(f"run {number + 1}")
        for case, name in (("Parquet", "x.parquet"), ("CSV", "x.csv"), ("folder of Parquet", "lake")):
            path = stage.home / name
            cost = stage.perps("export", "--out", str(path), database=database)
            written = path.rglob("*.parquet") if path.is_dir() else [path]
            results.add(case, "seconds, process", cost.seconds, "s")
            results.add(case, "candles, process", candles / cost.seconds, "/s")
            said = cost.output.partition(" a second")[0].split()[-1]
            results.add(case, "candles, as it says", float(said.replace(",", "")), "/s")
            results.add(case, "bytes a candle", sum(file.stat().st_size for file in written) / candles)
            add_costs(results, case, cost)
            add_peaks(results, case, cost)
        cost = stage.measure([psql, "-qX", "-c", COPY.format(stage.home / "psql.csv")], database)
        results.add("psql \\copy", "seconds, process", cost.seconds, "s")
        results.add("psql \\copy", "candles, process", candles / cost.seconds, "/s")
        add_costs(results, "psql \\copy", cost)
        add_peaks(results, "psql \\copy", cost)
    results.matrix()
