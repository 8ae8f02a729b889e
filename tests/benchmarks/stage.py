"""Where scenarios play: an embedded server of their own, simulators in processes of their own, `perps`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from extract.database.database import Database
from extract.embedded.cluster import Cluster, Status
from extract.settings import read_settings
from tests.benchmarks.counters import Counters, count
from tests.benchmarks.dbt_runs import DbtRun, read_run
from tests.benchmarks.processes import Watch, cpu_seconds, server_cpu_seconds
from tests.benchmarks.spans import BTC, ETH, iso
from tests.support.perps import FOREIGN, PROJECT, perps_command, perps_environment
from tests.support.truth import control, look, rows

EXTRA_INSTRUMENTS = 148
"""So many small perpetuals make 131 listed ones on 21 October 2025."""

UNLIMITED = 1e6
BUILD = ("dbt", "--", "build", "--exclude-resource-type", "unit_test")


class BenchmarkError(Exception):
    """A command that was measured failed."""


@dataclass(frozen=True)
class Exchange:
    """A simulator in a process of its own; `rate` is its requests a second, None without limit."""

    base_url: str
    pid: int
    rate: float | None
    seconds_to_prepare: float

    def set_clock(self, now_ms: int) -> None:
        """Make it `now_ms` there."""
        control(self.base_url, "clock", {"now": now_ms})

    def requests(self) -> int:
        """Return how many API requests it has answered."""
        return look(self.base_url, "state")["counters"].get("requests", 0)

    def first_request_after(self, moment: float) -> float:
        """Return when (monotonic seconds) it answered the first chart request after a moment."""
        served = look(self.base_url, "requests")
        return min(one["at"] for one in served if one["at"] > moment and one["instrument"])

    def variables(self) -> dict[str, str]:
        """Return what makes `perps` use it, at its rate."""
        return {
            "DERIBIT_API_URL": self.base_url,
            "DERIBIT_REQUESTS_PER_SECOND": f"{self.rate or UNLIMITED:g}",
        }


@dataclass(frozen=True)
class Cost:
    """What a command cost. `began` is monotonic, `started` unix seconds; peaks are bytes."""

    began: float
    started: float
    seconds: float
    cpu: float
    server_cpu: float
    simulator_cpu: float
    peak: int
    server_peak: int
    requests: int
    counted: Counters | None
    dbt: DbtRun | None
    code: int
    output: str


@dataclass
class Stage:
    """Everything that is started; leaving the with block ends and removes it.

    Simulators begin at `clock_ms` and render what they serve first, unless `prepared` says otherwise.
    """

    clock_ms: int
    prepared: bool = True
    _stack: ExitStack = field(default_factory=ExitStack)
    _exchanges: dict[tuple[float | None, float], Exchange] = field(default_factory=dict)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        impatient = signal.signal(signal.SIGINT, signal.SIG_IGN)  # nobody stops the tidying up
        self._stack.close()
        signal.signal(signal.SIGINT, impatient)

    @cached_property
    def home(self) -> Path:
        """The folder of everything, which the server's account can enter."""
        folder = Path(tempfile.mkdtemp(prefix="perps-bench-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        return folder

    @cached_property
    def server(self) -> Cluster:
        """The embedded server, started when first needed."""
        cluster = Cluster(self.home / "server", read_settings().cache)
        self._stack.callback(cluster.destroy)
        cluster.start()
        return cluster

    @property
    def status(self) -> Status | None:
        """What is known of the server; None where no scenario has needed it."""
        return self.server.status() if "server" in vars(self) else None

    def limited(self, now_ms: int) -> Exchange:
        """Return the simulator that answers as Deribit does (20 a second, 100 ms each), at an instant."""
        return self._exchange(20, 100, now_ms)

    def unlimited(self, now_ms: int) -> Exchange:
        """Return the simulator that answers as fast as it can, at an instant."""
        return self._exchange(None, 0, now_ms)

    def ticking(self, extra: int) -> Exchange:
        """Return a simulator like `limited` whose clock is this machine's, with more small perpetuals."""
        return self._start_exchange(20, 100, ("--extra-instruments", str(extra)))

    def fresh(self, name: str = "bench", *, parsed: bool = True) -> Database:
        """Return a new database; one of that name is dropped first. dbt has `parsed` its project for it."""
        self.server.drop_database(name)
        database = self.server.create_database(name)
        if parsed and not self.target(database).exists():
            self.perps("dbt", "--", "parse", database=database)
        return database

    def has_database(self, name: str) -> bool:
        """Tell whether a database was made."""
        return rows(self.server.database(), "select 1 from pg_database where datname = %s", name) != []

    def target(self, database: Database) -> Path:
        """Return dbt's folder for a database."""
        return self.home / "target" / database.dbname

    def checkpoint(self) -> None:
        """Write out what earlier work left, so that it is not charged to the next."""
        with self.server.database("postgres", "postgres").reading() as cursor:
            cursor.execute("checkpoint")

    def server_cpu(self) -> float:
        """Return the seconds of processor that the server has used since it started."""
        pid = self.server.status().pid
        return server_cpu_seconds(pid) if pid else 0.0

    def perps(
        self, *arguments: str, database: Database, exchange: Exchange | None = None, may_fail: bool = False
    ) -> Cost:
        """Run `perps` in a process of its own and return what it cost."""
        return self.measure(perps_command(*arguments), database, exchange, may_fail=may_fail)

    def measure(
        self,
        command: Sequence[str],
        database: Database | None = None,
        exchange: Exchange | None = None,
        *,
        may_fail: bool = False,
    ) -> Cost:
        """Run a command and return what it cost; checkpoints first.

        Raises:
            BenchmarkError: it failed, and `may_fail` does not say that it may.
        """
        if database:
            self.checkpoint()
        postmaster = self.server.status().pid if database else None
        counted = count(database) if database else None
        requests, simulator = (exchange.requests(), cpu_seconds(exchange.pid)) if exchange else (0, 0.0)
        server = server_cpu_seconds(postmaster) if postmaster else 0.0
        said = self.home / "said.txt"
        began, started = time.monotonic(), time.time()
        with said.open("w") as output, self._running(command, database, exchange, output) as process:
            with Watch(process.pid, postmaster) as watch:
                _, status, used = os.wait4(process.pid, 0)
                seconds = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        text = said.read_text()
        if process.returncode and not may_fail:
            raise BenchmarkError(f"{' '.join(command)} exited with {process.returncode}:\n{text[-3000:]}")
        after = count(database) if database and counted else None
        return Cost(
            began=began,
            started=started,
            seconds=seconds,
            cpu=used.ru_utime + used.ru_stime,
            server_cpu=server_cpu_seconds(postmaster) - server if postmaster else 0.0,
            simulator_cpu=cpu_seconds(exchange.pid) - simulator if exchange else 0.0,
            peak=watch.peaks.command,
            server_peak=watch.peaks.server,
            requests=exchange.requests() - requests if exchange else 0,
            counted=after.since(counted) if after and counted else None,
            dbt=read_run(self.target(database), started) if database else None,
            code=process.returncode,
            output=text,
        )

    def environment(self, database: Database | None, exchange: Exchange | None) -> dict[str, str]:
        """Return a person's shell with the benchmark's folders, a database and an API."""
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        places = {
            "PERPS_HOME": str(self.home),
            "PERPS_CACHE": str(read_settings().cache),
            "PYTHONPATH": str(PROJECT),
            "DBT_LOG_PATH": str(self.home / "dbt-logs"),
        }
        if database:
            places["DBT_TARGET_PATH"] = str(self.target(database))
        api: Mapping[str, str] = exchange.variables() if exchange else {}
        return perps_environment(kept, database, env={**places, **api})

    @contextmanager
    def staying(self, database: Database, exchange: Exchange, *flags: str) -> Iterator[int]:
        """Yield the process of a `perps run` that stays; it must be told to end, and then does."""
        said = self.home / "staying.txt"
        with (
            said.open("w") as output,
            self._running(perps_command("run", *flags), database, exchange, output) as process,
        ):
            yield process.pid
            process.terminate()
            code = process.wait(20)
        if code != 128 + signal.SIGTERM:
            raise BenchmarkError(f"perps run exited with {code}:\n{said.read_text()[-3000:]}")

    def _exchange(self, rate: float | None, latency_ms: float, now_ms: int) -> Exchange:
        """Return the simulator with this limit, started and rendered when first needed."""
        key = (rate, latency_ms)
        if key not in self._exchanges:
            clock = ("--clock", iso(self.clock_ms), "--extra-instruments", str(EXTRA_INSTRUMENTS))
            prepare = ("--prepare", BTC, ETH) if self.prepared else ()
            self._exchanges[key] = self._start_exchange(rate, latency_ms, (*clock, *prepare))
        self._exchanges[key].set_clock(now_ms)
        return self._exchanges[key]

    @contextmanager
    def _running(
        self, command: Sequence[str], database: Database | None, exchange: Exchange | None, output: Any
    ) -> Iterator[subprocess.Popen[Any]]:
        """Yield a process that does not outlive the with block."""
        env = self.environment(database, exchange)
        process = subprocess.Popen(
            command, env=env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            _end(process)

    def _start_exchange(self, rate: float | None, latency_ms: float, flags: Sequence[str]) -> Exchange:
        command = perps_command(
            "simulate", "--limit", f"{rate or 0:g}", "--latency-ms", f"{latency_ms:g}", *flags
        )
        began = time.monotonic()
        process = subprocess.Popen(
            command, env=self.environment(None, None), cwd=self.home, stdout=subprocess.PIPE, text=True
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise BenchmarkError("the simulator did not start; its error is above")
        return Exchange(address, process.pid, rate, time.monotonic() - began)


def _end(process: subprocess.Popen[Any]) -> None:
    """Stop a process, by force if it does not listen."""
    if process.returncode is None and process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def module(name: str, *arguments: str) -> list[str]:
    """Return the command line of a module of this package."""
    return [sys.executable, "-m", f"tests.benchmarks.{name}", *arguments]


def last_load(database: Database) -> float:
    """Return when the last load was complete, unix seconds."""
    return float(
        rows(database, "select extract(epoch from max(inserted_at)) from deribit_raw._dlt_loads")[0][0]
    )
