"""Backfills at the exchange's pace, against the floor (20 requests/s) and against the habit."""

from __future__ import annotations

import json

from tests.benchmarks.costs import add_costs, add_peaks
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.spans import Span, newest, oldest
from tests.benchmarks.stage import Stage, last_load, module
from tests.support.truth import rows

RATE = 20


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Measure `perps backfill` of each size, `perps run` from nothing, and the habit."""
    results.note(
        f"floor: requests of 5,000 candles at {RATE} a second. Seconds are those of the whole process."
    )
    for size in plan.sizes:
        for number in range(plan.runs):
            results.progress(f"backfill of {size:,}, run {number + 1}")
            _backfill(stage, results, newest(size), plan)
    for number in range(plan.runs):
        results.progress(f"run from an empty database to {plan.full:,}, run {number + 1}")
        _run(stage, results, oldest(plan.full), plan)
    results.progress(f"habit, {plan.habit:,} candles")
    _habit(stage, results, plan)


def _backfill(stage: Stage, results: Results, span: Span, plan: Plan) -> None:
    database, exchange = stage.fresh(parsed=False), stage.limited(span.end_ms)
    floor = span.requests / RATE
    cost = stage.perps("backfill", *span.flags(), database=database, exchange=exchange)
    case = f"backfill {span.candles:,}"
    results.add(case, "floor", floor, "s")
    results.add(case, "seconds", cost.seconds, "s")
    full = span == newest(plan.full)
    results.add(case, "x floor", cost.seconds / floor, goal="1.15 or less" if full else "")
    add_costs(results, case, cost)
    add_peaks(results, case, cost)


def _run(stage: Stage, results: Results, span: Span, plan: Plan) -> None:
    database, exchange, floor = stage.fresh(), stage.limited(span.end_ms), span.requests / RATE
    run = ("run", "--instruments", span.instruments, "--no-report")
    cost = stage.perps(*run, database=database, exchange=exchange)
    landed = last_load(database) - cost.started
    candles = rows(database, "select count(*) from perpetuals_ohlcv")[0][0]
    if candles != span.candles:
        results.note(f"WRONG: {candles:,} candles in perpetuals_ohlcv, expected {span.candles:,}")
    case = f"run {span.candles:,}"
    results.add(case, "floor", floor, "s")
    results.add(case, "last candle landed after", landed, "s")
    results.add(case, "seconds", cost.seconds, "s")
    results.add(case, "x floor", cost.seconds / floor, goal="1.35 or less, aim 1.2")
    add_costs(results, case, cost)
    add_peaks(results, case, cost)


def _habit(stage: Stage, results: Results, plan: Plan) -> None:
    span, database = newest(plan.habit), stage.fresh(parsed=False)
    exchange = stage.limited(span.end_ms)
    command = module("habit", str(span.start_ms), str(span.end_ms))
    cost = stage.measure(command, database, exchange)
    said = json.loads(cost.output)
    full = oldest(plan.full)
    scaled = said["seconds"] * full.candles / said["candles"]
    case = f"habit {said['candles']:,}"
    results.add(case, "seconds", said["seconds"], "s")
    results.add(case, "candles/s", said["candles"] / said["seconds"], "/s")
    add_costs(results, case, cost)
    add_peaks(results, case, cost)
    if said["candles"] != full.candles:
        results.note(
            f"habit was measured on {said['candles']:,} candles and scaled by rows to {full.candles:,}; "
            "its real cost grows with the table, which favours it."
        )
    results.add(f"habit {full.candles:,}", "seconds, scaled", scaled, "s")
    ours = results.median(f"run {full.candles:,}", "seconds")
    landed = results.median(f"backfill {newest(plan.full).candles:,}", "seconds")
    if ours:
        results.add("habit / run", "ratio", scaled / ours, "x", "15 or more")
    if landed:
        results.add("habit / backfill", "ratio", scaled / landed, "x", "15 or more")
