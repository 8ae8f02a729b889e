"""A `perps run --every` in a process of its own, what it says, and what it has done."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.support.perps import perps_environment
from tests.support.truth import rows
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Staying:
    """A run that stays, its database and exchange, and what it says."""

    process: subprocess.Popen[bytes]
    database: Database
    exchange: RunningSimulator
    folder: Path
    port: int

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def log(self) -> str:
        file = self.folder / "logs/perps.log"
        return file.read_text() if file.exists() else ""

    def has(self, until: str) -> bool:
        """Tell whether the table has the candles of all instruments until a time."""
        return len(rows(self.database, f"select from perpetuals_ohlcv where timestamp = '{until}'")) == 2

    def settle(self) -> None:
        """Wait until the first turn, with its build of everything, is over."""
        reports = self.log.count("report: ")
        wait_until(lambda: self.log.count("report: ") > reports or self.ended, "a report", 120)
        assert not self.ended, self.said

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
        }


@contextmanager
def staying(
    database: Database,
    exchange: RunningSimulator,
    environment: Mapping[str, str],
    folder: Path,
    *flags: str,
    code: str = "pass",
) -> Iterator[Staying]:
    """Yield a run that looks every second, after other code; then kill it. It writes into `folder`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = f"import sys; {code}; from extract.cli.main import main; sys.exit(main())"
    typed = ("run", "--every", "1s", "--at", "0s", "--metrics", str(port), "--out", str(folder), *flags)
    command = [sys.executable, "-c", start, *typed]
    variables = perps_environment(environment, database, exchange.base_url, {"PERPS_HOME": str(folder)})
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen(command, env=variables, stdout=said, stderr=subprocess.STDOUT)
    try:
        yield Staying(process, database, exchange, folder, port)
    finally:
        process.kill()
        process.wait()
