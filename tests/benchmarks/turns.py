"""`perps run --every 60s` through many minutes of a simulated clock, and what it holds after each quarter.

Usage: python -m tests.benchmarks.turns TURNS. Instead of waiting it moves the clock of DERIBIT_API_URL on.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from extract.cli.ending import endable
from extract.cli.parser import build_parser
from extract.cli.staying import stay
from extract.core.resolution import MINUTE_MS
from extract.database.database import Database
from extract.settings import read_settings
from tests.benchmarks.processes import MB, children, cpu_seconds, family, memory
from tests.support.truth import control, look, rows

ROWS = ("_dlt_loads", "_dlt_pipeline_state", "fetches", "candles")


class EnoughError(Exception):
    """All turns are done."""


class Turns:
    """Stands for `time.sleep`: closes a minute at the exchange, and prints a sample now and then."""

    def __init__(self, turns: int, database: Database, api_url: str) -> None:
        self._turns, self._done, self._database, self._api_url = turns, 0, database, api_url
        self._every = max(1, turns // 4)

    def __call__(self, _seconds: float) -> None:
        if self._done and self._done % self._every == 0:
            print(json.dumps({"turns": self._done, **sample(self._database)}), flush=True)
        if self._done == self._turns:
            raise EnoughError
        self._done += 1
        now_ms = look(self._api_url, "state")["now_ms"]
        control(self._api_url, "clock", {"now": (now_ms // MINUTE_MS + 1) * MINUTE_MS + 500})


def sample(database: Database) -> dict[str, float]:
    """Return what the run and the database hold."""
    pids = family(os.getpid())
    held = {name: rows(database, f"select count(*) from deribit_raw.{name}")[0][0] for name in ROWS}
    return {
        "memory of the run, MB": memory(os.getpid(), "VmRSS") / MB,
        "memory of dbt's process, MB": sum(memory(pid, "VmRSS") for pid in children(os.getpid())) / MB,
        "open files": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        "threads": sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
        "sessions": rows(
            database, "select count(*) from pg_stat_activity where datname = current_database()"
        )[0][0],
        "processor, s": sum(map(cpu_seconds, pids)),
        **{f"rows of {name}": count for name, count in held.items()},
    }


def main() -> None:
    """Run the turns; whatever fails in one is printed and fails the command."""
    settings = read_settings()
    typed = ["run", "--every", "60s", "--out", str(settings.home / "turns"), *sys.argv[2:]]
    turns = Turns(int(sys.argv[1]), settings.database(), settings.api_url)
    with endable():
        try:
            stay(build_parser(typed).parse_args(typed), settings, turns)
        except EnoughError:
            return


if __name__ == "__main__":
    main()
