"""What small news cost on a small and on a large table: it must depend on the news, not on the table."""

from __future__ import annotations

from dataclasses import dataclass

from extract.database.database import Database
from tests.benchmarks.costs import add_costs, add_counts, add_dbt
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.scenarios.base import DAY_MS, HOUR_MS, holes, loaded
from tests.benchmarks.spans import BTC, ETH, iso, newest
from tests.benchmarks.stage import BUILD, Cost, Exchange, Stage

TWO = f"{BTC},{ETH}"
MINUTE_MS = 60_000
INSTRUMENTS = 131
MINUTE, LOAD_GOAL = "one new minute of two", "below 3"


@dataclass
class Table:
    """A table of `size` candles with what changes it; `now_ms` is where the exchange's clock stands."""

    stage: Stage
    results: Results
    database: Database
    exchange: Exchange
    size: int
    now_ms: int

    def tick(self, by_ms: int) -> None:
        """Let time pass."""
        self.now_ms += by_ms
        self.exchange.set_clock(self.now_ms)

    def perps(self, *arguments: str, may_fail: bool = False) -> Cost:
        """Run a command on this table."""
        return self.stage.perps(*arguments, database=self.database, exchange=self.exchange, may_fail=may_fail)

    def add(self, case: str, load: Cost, build: Cost, *, resent: bool = False) -> None:
        """Add a load and the build after it as one case."""
        case, results = f"{case} on {self.size:,}", self.results
        results.add(case, "seconds, load", load.seconds, "s", LOAD_GOAL if case.startswith(MINUTE) else "")
        results.add(case, "seconds, build", build.seconds, "s")
        add_costs(results, case, load, build)
        add_counts(results, case, load, build, resent=resent)
        add_dbt(results, case, build)
        if build.code:
            results.note(
                "One repaired hour: builds before the last one say that gaps are left, as there are."
            )


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Measure each kind of news on both tables, then compare the tables."""
    results.matrix()
    sizes = (plan.small, plan.full)
    for size in sizes:
        span = newest(size)
        exchange = stage.limited(span.end_ms)
        table = Table(stage, results, loaded(stage, results, plan, size), exchange, size, span.end_ms)
        _start_up(table, plan)
        for number, hole in enumerate(holes(span, plan.runs)):
            results.progress(f"{size:,}, run {number + 1}")
            _repaired_hour(table, hole)
        for number in range(plan.runs):
            results.progress(f"{size:,}, run {number + 1}: minutes and a day")
            _new_minute(table)
            _whole_run(table)
            _resent_day(table, number)
        _many(table, plan)
    _compare(results, sizes)
    results.note("At 20 requests a second with 100 ms latency. dbt start-up is until its first node begins.")


def _start_up(table: Table, plan: Plan) -> None:
    for _ in range(plan.runs):
        cost = table.perps("dbt", "--", "parse")
        table.results.add("dbt parse, nothing changed", "seconds", cost.seconds, "s")


def _repaired_hour(table: Table, hole: int) -> None:
    flags = ("--instruments", TWO, "--start", iso(hole), "--end", iso(hole + HOUR_MS))
    load = table.perps("backfill", *flags)
    table.add("one repaired hour of two", load, table.perps(*BUILD, may_fail=True))


def _new_minute(table: Table) -> None:
    table.tick(MINUTE_MS)
    update = table.perps("update", "--instruments", TWO)
    table.add(MINUTE, update, table.perps(*BUILD))


def _whole_run(table: Table) -> None:
    table.tick(MINUTE_MS)
    cost = table.perps("run", "--instruments", TWO, "--no-report")
    case = f"perps run, {MINUTE} on {table.size:,}"
    table.results.add(case, "seconds", cost.seconds, "s", "below 12")
    add_costs(table.results, case, cost)


def _resent_day(table: Table, number: int) -> None:
    span = newest(table.size)
    start = (span.start_ms + (span.end_ms - span.start_ms) // 2) // DAY_MS * DAY_MS + number * DAY_MS
    flags = ("--instruments", TWO, "--start", iso(start), "--end", iso(start + DAY_MS))
    load = table.perps("backfill", *flags)
    table.add("a re-sent unchanged day of two", load, table.perps(*BUILD), resent=True)


def _many(table: Table, plan: Plan) -> None:
    start = iso(table.now_ms - HOUR_MS)
    table.perps("backfill", "--instruments", "all", "--start", start)
    table.perps(*BUILD)
    for number in range(plan.runs):
        table.results.progress(f"{table.size:,}, run {number + 1}: {INSTRUMENTS} instruments")
        table.tick(MINUTE_MS)
        update = table.perps("update")
        table.add(f"one new minute of {INSTRUMENTS}", update, table.perps(*BUILD))


def _compare(results: Results, sizes: tuple[int, int]) -> None:
    small, large = sizes
    cases = {
        MINUTE: ("seconds, load", "seconds, build"),
        f"perps run, {MINUTE}": ("seconds",),
        f"one new minute of {INSTRUMENTS}": ("seconds, load", "seconds, build"),
        "one repaired hour of two": ("seconds, load", "seconds, build"),
        "a re-sent unchanged day of two": ("seconds, load", "seconds, build"),
    }
    for case, metric in [(case, metric) for case, metrics in cases.items() for metric in metrics]:
        below, above = (results.median(f"{case} on {size:,}", metric) for size in (small, large))
        if below and above:
            results.add(f"{case} on {large:,}", f"{metric}, x that on {small:,}", above / below, "x", "1.2")
