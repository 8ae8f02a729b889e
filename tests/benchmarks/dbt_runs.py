"""What dbt wrote of its last run: how long it took to start, and each node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class DbtRun:
    """Seconds from the start of the process to the first node, and of each node by its name."""

    startup: float
    nodes: dict[str, float]
    tests: dict[str, float]
    wrong: dict[str, str]


def read_run(target: Path, started: float) -> DbtRun | None:
    """Return the run that a process begun at `started` (unix seconds) wrote; None when it wrote none."""
    file = target / "run_results.json"
    if not file.is_file() or file.stat().st_mtime < started:
        return None
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    begun = [
        datetime.fromisoformat(timing["started_at"]).timestamp()
        for result in results
        for timing in result["timing"]
    ]
    nodes: dict[str, float] = {}
    tests: dict[str, float] = {}
    for result in results:
        kind, _, name, *_ = result["unique_id"].split(".")
        (tests if kind == "test" else nodes)[name] = result["execution_time"]
    wrong = {
        result["unique_id"].split(".")[2]: result["status"]
        for result in results
        if result["status"] not in ("success", "pass", "no-op")
    }
    return DbtRun(min(begun, default=started) - started, nodes, tests, wrong)
