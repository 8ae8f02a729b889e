"""A command's cost as figures."""

from __future__ import annotations

from tests.benchmarks.counters import TABLES
from tests.benchmarks.processes import MB
from tests.benchmarks.results import Results
from tests.benchmarks.stage import Cost


def add_costs(results: Results, case: str, *costs: Cost) -> None:
    """Add seconds of processor of everyone at work."""
    results.add(case, "CPU pipeline", sum(cost.cpu for cost in costs), "s")
    results.add(case, "CPU server", sum(cost.server_cpu for cost in costs), "s")
    if any(cost.simulator_cpu for cost in costs):
        results.add(case, "CPU simulator", sum(cost.simulator_cpu for cost in costs), "s")


def add_peaks(results: Results, case: str, *costs: Cost, goal: str = "") -> None:
    """Add the most memory that the command and the server held."""
    results.add(case, "peak memory pipeline", max(cost.peak for cost in costs) / MB, "MB", goal)
    results.add(case, "peak memory server", max(cost.server_peak for cost in costs) / MB, "MB")


def add_counts(results: Results, case: str, *costs: Cost, resent: bool = False) -> None:
    """Add requests, rows read and written by table, and bytes of write-ahead log."""
    results.add(case, "requests", sum(cost.requests for cost in costs))
    counted = [cost.counted for cost in costs if cost.counted]
    for table in TABLES:
        results.add(case, f"rows read, {table}", sum(each.read[table] for each in counted))
    for table in TABLES:
        goal = "0" if resent and table == "ohlcv" else ""
        results.add(case, f"rows written, {table}", sum(each.written[table] for each in counted), goal=goal)
    results.add(case, "WAL", sum(each.wal for each in counted) / 1000, "kB")


def add_dbt(results: Results, case: str, cost: Cost) -> None:
    """Add dbt's own start-up and the seconds of what it ran."""
    if cost.dbt:
        results.add(case, "dbt start-up", cost.dbt.startup, "s")
        results.add(case, "dbt models", sum(cost.dbt.nodes.values()), "s")
        results.add(case, "dbt tests", sum(cost.dbt.tests.values()), "s")
