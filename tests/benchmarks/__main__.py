"""`python -m tests.benchmarks`: measure, print each scenario as soon as it is measured, write JSON."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.machine import machine_facts
from tests.benchmarks.plan import QUICK, Plan
from tests.benchmarks.results import Results
from tests.benchmarks.stage import BenchmarkError, Stage

SCENARIOS = (
    *("serve", "backfill", "unlimited", "memory", "increments", "checks", "queries", "export", "storage"),
    *("staying", "peers"),
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one run: a few minutes")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--runs", type=int, metavar="N", help="of each command (default: 3; quick: 1)")
    parser.add_argument(
        "--sizes",
        type=float,
        nargs="+",
        metavar="MILLIONS",
        help="of the backfills (default: 0.1 1 7.25; for memory 1 2 4 8; for peers 0.5)",
    )
    parser.add_argument(
        "--full", type=float, metavar="MILLIONS", help="of the table that is built (default: 7.25)"
    )
    parser.add_argument("--minutes", type=int, metavar="N", help="that a run stays for (default: 60)")
    parser.add_argument("--whole-habit", action="store_true", help="run the habit baseline in full: hours")
    parser.add_argument(
        "--unprepared", action="store_true", help="let the simulator compute its replies: starts sooner"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="default: reports/benchmarks-TIME.json")
    return parser.parse_args(arguments)


def plan_of(flags: argparse.Namespace) -> Plan:
    """Return what the flags ask for."""
    plan = QUICK if flags.quick else Plan()
    if flags.runs:
        plan = replace(plan, runs=flags.runs)
    if flags.sizes:
        sizes = tuple(round(size * 1e6) for size in flags.sizes)
        plan = replace(plan, sizes=sizes, memory=sizes, peers=sizes[0])
    if flags.full:
        plan = replace(plan, full=round(flags.full * 1e6))
    if flags.minutes:
        plan = replace(plan, minutes=flags.minutes)
    if flags.whole_habit:
        plan = replace(plan, habit=plan.full)
    return replace(plan, prepared=not flags.unprepared)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios; everything that was started ends with it, however it ends."""
    flags = parse(arguments)
    plan = plan_of(flags)
    out = flags.out or Path(f"reports/benchmarks-{datetime.now(UTC):%Y%m%dT%H%M%S}.json")
    results = Results(out)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    began, failed = time.monotonic(), []
    with Stage(plan.clock_ms, plan.prepared) as stage:
        results.facts = machine_facts(stage.home, None)
        for name in [name for name in SCENARIOS if name in flags.only]:
            results.scenario = name
            scenario = importlib.import_module(f"tests.benchmarks.scenarios.{name}")
            try:
                scenario.run(stage, results, plan)
            except BenchmarkError as error:
                failed.append(name)
                results.progress(str(error))
            finally:
                results.facts = machine_facts(stage.home, stage.status) | results.facts
                results.show()
                results.save({**asdict(plan), "only": flags.only})
    print("\n== machine")
    for name, value in results.facts.items():
        print(f"{name}: {value}")
    print(f"\n{out} written after {time.monotonic() - began:.0f} s")
    if failed:
        print(f"error: a command failed in {', '.join(failed)}; its output is above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted: everything that was started is stopped and removed")
