"""`python -m tests.faults.long_runs`: a minute, an update and a build, a thousand times; what is left behind?

Both commands run in one process that stays, so that whatever a run forgets to close adds up; people have a
process for each. A line of counts is printed now and then, and at the end the table is compared with the
exchange and audited.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from extract.database.database import Database
from extract.simulator.listings import DEFAULT
from tests.support.exchange import simulated
from tests.support.ledger import judge
from tests.support.own_server import own_server
from tests.support.perps import PROJECT, expect, perps_environment
from tests.support.truth import control, rows, table, truth
from tests.support.warm import WarmPerps

START, CLOCK = "2026-08-01T00:00:00Z", "2026-08-02T00:00:30Z"  # all are listed by then
RATE = ("--requests-per-second", "10000")
SIZE = """
select coalesce(hypertable_size(to_regclass(name)), pg_total_relation_size(name)) / 1024
from (values (%s)) as asked (name)
"""
TABLES = (
    *("deribit_raw.candles", "deribit_raw.fetches", "deribit_raw._dlt_loads"),
    *("deribit_raw._dlt_pipeline_state", "quality.watermarks"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.long_runs")
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--every", type=int, default=50, help="runs between two lines")
    parser.add_argument("--instruments", type=int, default=len(DEFAULT), help="default: the simulator's own")
    asked = parser.parse_args(arguments)
    with own_server() as (home, cluster):
        database = cluster.create_database("runs")
        run_again_and_again(database, home, asked.count, asked.every, asked.instruments)


def run_again_and_again(database: Database, home: Path, count: int, every: int, instruments: int) -> None:
    """Load a day, then a minute at a time."""
    variables = {"PERPS_HOME": str(home), "DBT_TARGET_PATH": str(home / "target"), "TMPDIR": str(home)}
    variables |= {"DBT_LOG_PATH": str(home / "dbt-logs")}
    with simulated(clock=CLOCK, extra_instruments=instruments - len(DEFAULT)) as exchange:
        env = perps_environment(os.environ, database, exchange.base_url, variables)
        warm = WarmPerps(str(PROJECT))

        def perps(*typed: str) -> None:
            expect(warm.run(typed, env, str(home), 600))

        perps("backfill", "--instruments", "all", "--start", START, *RATE)
        perps("dbt", "--", "--quiet", "run")
        counts = measure(database, home, warm.pid)
        print("run | seconds each | " + " | ".join(counts))
        print("0 | | " + " | ".join(map(str, counts.values())), flush=True)
        began = time.monotonic()
        for number in range(1, count + 1):
            control(exchange.base_url, "clock", {"advance_ms": 60_000})
            perps("update", *RATE)
            perps("dbt", "--", "--quiet", "run")
            if number % every == 0 or number == count:
                spent, began = time.monotonic() - began, time.monotonic()
                counts = measure(database, home, warm.pid).values()
                print(f"{number} | {spent / every:.2f} | " + " | ".join(map(str, counts)), flush=True)
        perps("audit")
        warm.stop()
        end = control(exchange.base_url, "clock", {"advance_ms": 0})["now_ms"]
        names = [name for (name,) in rows(database, "select distinct instrument from perpetuals_ohlcv")]
        true = [row for name in names for row in truth(exchange.base_url, name, START, str(end))]
        lost, invented = judge(table(database), true)
        print(f"{len(names)} instruments, {len(true)} candles: {lost} rows lost, {invented} rows invented")


def measure(database: Database, home: Path, process: int) -> dict[str, int]:
    """Return what could grow: of the process, of the server, of the folders, and the rows of tables."""
    status = Path(f"/proc/{process}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    files = [path for path in home.rglob("*") if path.is_file() and (home / "server") not in path.parents]
    found = {
        "memory MB": int(facts["VmRSS"].split()[0]) // 1024,
        "threads": int(facts["Threads"]),
        "open files": len(list(Path(f"/proc/{process}/fd").iterdir())),
        "connections": rows(
            database, "select count(*) - 1 from pg_stat_activity where datname = current_database()"
        )[0][0],
        "files": len(files),
        "MB in files": sum(path.stat().st_size for path in files) // 1_000_000,
    }
    found |= {name: rows(database, f"select count(*) from {name}")[0][0] for name in TABLES}
    return found | {f"{name} kB": rows(database, SIZE, name)[0][0] for name in TABLES}


if __name__ == "__main__":
    main()
