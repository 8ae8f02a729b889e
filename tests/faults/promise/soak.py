"""The soak: scenarios one after the other, from a first seed on, for some minutes or a number of seeds.

SEED=n replays one; SEEDS=n and FROM=n run a fixed number; MINUTES=n (default 10) runs as many as fit;
WORKERS=n at once (default 1). Lines of results go to target/promise.jsonl, faults to the ledger.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.faults.promise.result import Result
from tests.faults.promise.run import carry_out
from tests.faults.promise.scenario import draw
from tests.faults.promise.stage import open_stage
from tests.support.ledger import FILE, Injected, record

RESULTS = FILE.with_name("promise.jsonl")


def soak(first: int, stride: int, count: int, minutes: float, file: Path) -> list[dict[str, Any]]:
    """Carry scenarios out until the time or the seeds are up; return and write their results."""
    deadline = time.monotonic() + minutes * 60
    done: list[dict[str, Any]] = []
    with open_stage() as stage:
        for seed in range(first, first + stride * count, stride):
            if time.monotonic() > deadline:
                break
            print(f"seed {seed}", flush=True)
            done.append(one(seed, stage))
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(done[-1]) + "\n")
    return done


def one(seed: int, stage: Any) -> dict[str, Any]:
    try:
        result = carry_out(draw(seed), stage)
    except Exception:
        print(f"seed {seed} FAILED\n{traceback.format_exc()}", flush=True)
        return {"seed": seed, "failed": traceback.format_exc()}
    enter(result)
    print(f"seed {seed}: right after {result.recovery_s:.1f} s {result.stages}", flush=True)
    return asdict(result)


def enter(result: Result) -> None:
    """Write what was survived into the ledger."""
    for kind in result.api:
        record(Injected("api", f"{kind}, at random", result.lost, result.invented, result.recovery_s))
    for group, fault in result.faults:
        record(Injected(group, fault, result.lost, result.invented, result.recovery_s))


def summary(results: list[dict[str, Any]]) -> str:
    """Return what came of a soak in a few lines."""
    good = [result for result in results if "failed" not in result]
    if not good:
        return f"{len(results)} seeds, all failed"
    faults = Counter(f"{group}: {fault}" for result in good for group, fault in result["faults"])
    replies = sum((Counter(result["api"]) for result in good), Counter())
    seconds = [result["recovery_s"] for result in good]
    lines = [
        f"{len(results)} seeds, {len(results) - len(good)} failed: "
        f"{[result['seed'] for result in results if 'failed' in result]}",
        f"{sum(len(result['steps']) for result in good)} disturbed commands, {faults.total()} hits, "
        f"{replies.total()} replies hit",
        f"rows lost {sum(result['lost'] for result in good)}, invented {sum(r['invented'] for r in good)}",
        f"recovery: median {median(seconds):.1f} s, most {max(seconds):.1f} s",
        f"ended {max(result['slowest_end_s'] for result in good):.1f} s after a signal from outside, at most",
        f"busy {sum(result['busy'] for result in good)}, "
        f"unexpected messages {Counter(text for r in good for text in r['unexpected'])}",
        *(f"{count:5} {fault}" for fault, count in sorted(faults.items())),
        *(f"{count:5} replies: {kind}" for kind, count in sorted(replies.items())),
    ]
    return "\n".join(lines)


def main() -> int:
    wanted = {name: os.environ.get(name) for name in ("SEED", "SEEDS", "FROM", "MINUTES", "WORKERS")}
    workers = int(wanted["WORKERS"] or 1)
    first = int(wanted["SEED"] or wanted["FROM"] or 1)
    count = 1 if wanted["SEED"] else int(wanted["SEEDS"] or 1_000_000)
    minutes = float(wanted["MINUTES"] or (10 if count == 1_000_000 else 1e6))
    if wanted["SEED"]:
        print(draw(first))
    RESULTS.parent.mkdir(exist_ok=True)
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    with pool:
        parts = [
            pool.submit(soak, first + n, workers, -(-(count - n) // workers), minutes, RESULTS)
            for n in range(min(workers, count))
        ]
        results = [result for part in parts for result in part.result()]
    print(summary(results))
    for result in results:
        if wanted["SEED"]:
            print("\n".join(result.get("steps", [])))
    return int(any("failed" in result for result in results))
