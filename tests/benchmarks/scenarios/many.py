"""131 instruments, one new hour each, at the exchange's pace."""

from __future__ import annotations

from tests.benchmarks.costs import add_costs, add_counts, add_dbt
from tests.benchmarks.flow import BUILD
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.spans import FULL_END, iso
from tests.benchmarks.stage import Stage

RATE = 20
INSTRUMENTS = 131
HOUR_MS = 3_600_000


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Load an hour of every perpetual, then measure the next ones."""
    database, now = stage.fresh(), FULL_END * 60_000
    everything = ("--instruments", "all", "--start", iso(now - HOUR_MS))
    stage.perps("backfill", *everything, database=database, exchange=stage.unlimited(now))
    stage.perps(*BUILD, database=database)
    floor = INSTRUMENTS / RATE
    for number in range(plan.runs):
        results.progress(f"run {number + 1}")
        now += HOUR_MS
        exchange = stage.limited(now)
        update = stage.perps("update", database=database, exchange=exchange)
        build = stage.perps(*BUILD, database=database)
        case = f"{INSTRUMENTS} x one new hour"
        results.add(case, "floor", floor, "s")
        goal = f"{1.5 * floor + 10:.1f} or less"
        results.add(case, "seconds, perps update", update.seconds, "s", goal)
        results.add(case, "seconds, dbt build", build.seconds, "s")
        add_costs(results, case, update, build)
        add_counts(results, case, update, build)
        add_dbt(results, case, build)
    with database.reading() as cursor:
        cursor.execute("select count(distinct instrument), count(*) from perpetuals_ohlcv")
        instruments, candles = cursor.fetchone()
    expected = INSTRUMENTS * 60 * (plan.runs + 1)
    if (instruments, candles) != (INSTRUMENTS, expected):
        results.note(f"WRONG: {candles:,} candles of {instruments} instruments, expected {expected:,}")
