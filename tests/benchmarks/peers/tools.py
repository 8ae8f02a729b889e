"""This tool and its peers: the commands of each, and where its table is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.spans import iso
from tests.benchmarks.stage import BUILD, BenchmarkError
from tests.support.perps import PROJECT, perps_command

Commands = Sequence[Sequence[str]]
Order = Callable[[str, int], Commands]
"""Instruments, separated by commas, and the start (ms) of their history, as commands."""

HERE = Path(__file__).parent
QUIET = ("HOME=.", "DLT_DATA_DIR=pipelines", "RUNTIME__DLTHUB_TELEMETRY=false")
"""What keeps dlt in its working folder, and from sending statistics. As root it still makes /var/dlt."""

PYTHON = PROJECT / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class Tool:
    """A way to load candles; each of its orders is commands that are run one after the other.

    Attributes:
        name: as the table of results has it.
        table: the table that a reader queries.
        parse: run before any clock starts.
        first: a first load up to now.
        minute: what a scheduler runs again and again.
        last: what puts right as much as the tool can by itself.
        judged: whether it goes through the faults; of two that differ only in speed, one does.
    """

    name: str
    table: str
    parse: Commands
    first: Order
    minute: Order
    last: Order
    judged: bool = True


def install() -> None:
    """Install ccxt into .venv-peers, unless it is there.

    Raises:
        BenchmarkError: it could not be installed.
    """
    made = subprocess.run(
        ["make", f"PYTHON={sys.executable}", ".venv-peers/installed"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        lines = made.stderr.splitlines() or ["make says nothing"]
        why = next((line for line in lines if line.startswith("ERROR: ")), lines[-1])
        raise BenchmarkError(f"could not install ccxt ({why}); repeat with: make .venv-peers/installed")


def tools() -> tuple[Tool, ...]:
    """Return this tool first."""
    return (_perps(), _ccxt("executemany"), _ccxt("execute_values"), _dlt())


def _perps() -> Tool:
    def first(names: str, start_ms: int) -> Commands:
        flags = ("--instruments", names, "--start", iso(start_ms))
        return [perps_command("backfill", *flags), perps_command(*BUILD)]

    def minute(names: str, _: int) -> Commands:
        return [perps_command("run", "--no-report", "--instruments", names)]

    def last(names: str, _: int) -> Commands:
        return [perps_command("run", "--no-report", "--repair", "--instruments", names)]

    return Tool("perps", "perpetuals_ohlcv", [perps_command("dbt", "--", "parse")], first, minute, last)


def _ccxt(way: str) -> Tool:
    def load(names: str, start_ms: int) -> Commands:
        return [[str(PYTHON), str(HERE / "ccxt_loop.py"), names, iso(start_ms), way]]

    return Tool(f"ccxt, {way}", "candles", [], load, load, load, judged=way == "executemany")


def _dlt() -> Tool:
    def load(names: str, start_ms: int) -> Commands:
        script = ["env", *QUIET, sys.executable, str(HERE / "dlt_merge.py")]
        return [[*script, names, iso(start_ms)], _dbt("build")]

    return Tool("dlt and dbt", "candles", [_dbt("parse")], load, load, load)


def _dbt(command: str) -> list[str]:
    folder = str(HERE / "dbt")
    return [
        str(Path(sys.executable).with_name("dbt")),
        command,
        "--project-dir",
        folder,
        "--profiles-dir",
        folder,
    ]
