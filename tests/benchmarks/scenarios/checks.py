"""Bars compared with the table, every dbt test, and the full audit over all of it."""

from __future__ import annotations

from tests.benchmarks.costs import add_costs, add_peaks
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.scenarios.base import DAY_MS, repaired
from tests.benchmarks.spans import iso, newest
from tests.benchmarks.stage import Stage

TESTS = ("dbt", "--", "test", "--exclude-resource-type", "unit_test")
SLOWEST = 5
BARS = (("1D", "a year of daily bars", 365), ("60", "a month of hourly bars", 30))


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Load and compare bars, then run the tests and the audit beside them."""
    database, span = repaired(stage, results, plan, plan.full), newest(plan.full)
    for resolution, case, days in BARS:
        results.progress(f"perps reconcile, {case}")
        start = max(span.start_ms, span.end_ms - days * DAY_MS)
        cost = stage.perps(
            *("reconcile", "--resolution", resolution, "--start", iso(start), "--end", iso(span.end_ms)),
            database=database,
            exchange=stage.unlimited(span.end_ms + DAY_MS),
        )
        results.add(f"perps reconcile, {case}", "seconds, process", cost.seconds, "s")
        add_costs(results, f"perps reconcile, {case}", cost)
    for number in range(plan.runs):
        for case, command, goal in (
            ("all dbt tests", TESTS, "below 15"),
            ("perps audit", ("audit",), "below 60"),
        ):
            results.progress(f"{case}, run {number + 1}")
            cost = stage.perps(*command, database=database)
            assert cost.dbt
            results.add(case, "tests", len(cost.dbt.tests))
            results.add(case, "seconds, process", cost.seconds, "s")
            results.add(case, "dbt start-up", cost.dbt.startup, "s")
            results.add(case, "seconds without start-up", cost.seconds - cost.dbt.startup, "s", goal)
            results.add(case, "seconds, sum of tests", sum(cost.dbt.tests.values()), "s")
            for name, seconds in sorted(cost.dbt.tests.items(), key=lambda test: -test[1])[:SLOWEST]:
                results.add(f"{case}: {name}", "seconds", seconds, "s")
            add_costs(results, case, cost)
            add_peaks(results, case, cost)
            for name, status in cost.dbt.wrong.items():
                results.note(f"{case}: {name} ended with {status}")
