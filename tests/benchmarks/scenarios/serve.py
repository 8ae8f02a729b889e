"""What the simulator can serve: it must never be the bottleneck."""

from __future__ import annotations

import json

from tests.benchmarks.plan import Plan
from tests.benchmarks.results import Results
from tests.benchmarks.spans import ROWS_PER_REQUEST
from tests.benchmarks.stage import Stage, module


def run(stage: Stage, results: Results, plan: Plan) -> None:
    """Ask for full replies with a client that does nothing with them, in a process of its own."""
    exchange = stage.unlimited(plan.clock_ms)
    results.add("rendering", "seconds", exchange.seconds_to_prepare, "s")
    for connections in (1, 8):
        case = f"{connections} connection{'s' if connections > 1 else ''}"
        for _ in range(plan.runs):
            command = module("client", exchange.base_url, str(plan.replies), str(connections))
            cost = stage.measure(command, exchange=exchange)
            said = json.loads(cost.output)
            rate = said["replies"] / said["seconds"]
            results.add(case, "replies", rate, "/s", "above what any client takes")
            results.add(case, "candles", rate * (ROWS_PER_REQUEST + 1), "/s")
            results.add(case, "bytes", said["bytes"] / said["seconds"] / 1e6, "MB/s")
            results.add(case, "simulator CPU", cost.simulator_cpu / said["replies"] * 1000, "ms/reply")
    results.note("A reply is 5,001 candles. The client shares the cores with the simulator.")
