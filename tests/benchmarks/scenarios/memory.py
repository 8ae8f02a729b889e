"""Peak memory of a backfill, which must not grow with its length."""

from __future__ import annotations

from tests.benchmarks.costs import add_peaks
from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.spans import newest
from tests.benchmarks.stage import Stage


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Measure one backfill of each size, without an API limit, when most is in flight."""
    peaks = []
    for size in plan.memory:
        results.progress(f"{size:,} candles")
        span = newest(size)
        exchange = stage.unlimited(span.end_ms)
        cost = stage.perps("backfill", *span.flags(), database=stage.fresh(parsed=False), exchange=exchange)
        add_peaks(results, f"backfill {span.candles:,}", cost, goal="below 400 MB")
        peaks.append(cost.peak)
    results.add("most / least", "ratio", max(peaks) / min(peaks), "x", "flat")
    results.note(
        "The pipeline's peak is VmHWM. The server's is the private memory of all its processes and the "
        "shared buffers that one of them has touched."
    )
