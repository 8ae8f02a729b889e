"""Starts `perps` commands as real processes, but soon: a fork of one that has imported everything.

A fork of a process with threads can wait for ever for a lock that nobody holds any more. This one has
imported dlt and dbt, has read the dbt project and has run nothing: it checks before every fork that it has
one thread, forks, waits, and does nothing else.
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.promise.points import Hit, Victims, install
from tests.support.private import load_dbt_project, save_dbt_project

REPOSITORY = Path(__file__).resolve().parents[3]
TARGETS = ("default", "dev")
MANIFESTS: dict[str, Any] = {}
"""By target the dbt project that was read."""
LONGEST_S = 240.0
LONGEST_RETRY_S = 0.02
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Libraries that start threads when they are imported are told not to."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal that killed it), what it said, seconds."""

    code: int
    out: str
    err: str
    took_s: float


class StuckError(AssertionError):
    """A command that did not end; the message has the stack of each of its threads."""


class Zygote:
    """Runs one command after the other, each in a child of a process that is ready.

    Args:
        folder: for what commands say, and dbt's files.
        database: name of the database of all commands, which dbt writes into the project that it has read.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.promise.zygote", str(folder), database],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **ONE_THREAD},
        )
        self._line()  # when everything is imported and read

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        hit: Hit | None = None,
        victims: Victims | None = None,
        buckets: int = 5000,
    ) -> Running:
        """Start `perps` with arguments, hit where `hit` says, with windows of `buckets` candles."""
        said = Path(tempfile.mkdtemp(dir=self._folder))
        told = {
            "arguments": list(arguments),
            "env": dict(env),
            "said": str(said),
            "hit": asdict(hit) if hit else None,
            "victims": asdict(victims) if victims else None,
            "buckets": buckets,
        }
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        pid = json.loads(self._line())["pid"]
        return Running(self, pid, said, time.monotonic())

    def _line(self, seconds: float | None = None) -> str:
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._process.stdout.readline() if ready else ""

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@dataclass(frozen=True)
class Running:
    """A command under way."""

    zygote: Zygote
    pid: int
    said: Path
    begun: float

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; nothing happens if it has ended but nobody has asked how."""
        os.kill(self.pid, number)

    def ended(self, within_s: float) -> bool:
        """Wait for its end, not longer than that many seconds; tell whether it came."""
        ready, _, _ = select.select([self.zygote._process.stdout], [], [], within_s)
        return bool(ready)

    def wait(self) -> Ended:
        """Return how it ended.

        Raises:
            StuckError: it did not.
        """
        if not self.ended(LONGEST_S):
            os.kill(self.pid, signal.SIGABRT)  # faulthandler writes the stacks
            self.zygote._line(10)
            raise StuckError(f"expected an end within {LONGEST_S:g} s, got none:\n{self._text('err')}")
        status = json.loads(self.zygote._line())["status"]
        return Ended(
            os.waitstatus_to_exitcode(status),
            self._text("out"),
            self._text("err"),
            time.monotonic() - self.begun,
        )

    def _text(self, name: str) -> str:
        return (self.said / name).read_text(errors="replace")


def serve() -> None:
    """Read commands, one a line; fork for each, say its number, wait, and say how it ended."""
    import_everything()
    read_project(Path(sys.argv[1]), sys.argv[2])
    answer("ready")
    for line in sys.stdin:
        told = json.loads(line)
        expect_one_thread()
        pid = os.fork()
        if pid == 0:
            become(told)
        answer({"pid": pid})
        answer({"status": os.waitpid(pid, 0)[1]})


def answer(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def import_everything() -> None:
    """Import what every command would, and run none of it."""
    from extract.cli.main import do_without_data_frames  # noqa: PLC0415

    do_without_data_frames()  # its threads would not outlive a fork
    import adbc_driver_postgresql.dbapi  # noqa: F401, PLC0415
    import dbt.adapters.postgres  # noqa: PLC0415
    import dbt.cli.main  # noqa: F401, PLC0415
    import dlt.destinations.impl.postgres.postgres  # noqa: PLC0415
    import dlt.load.load  # noqa: PLC0415
    import dlt.normalize.normalize  # noqa: F401, PLC0415

    from extract.cli.parser import build_parser  # noqa: PLC0415

    build_parser()


def read_project(folder: Path, database: str) -> None:
    """Have children read the dbt project once a target, which takes longer than most commands.

    Reading starts threads; what was read comes back as a file. Audits are among it, for `perps audit`.
    """
    from extract.database.database import Database  # noqa: PLC0415
    from extract.transform import runner  # noqa: PLC0415

    files = {target: folder / f"{target}.msgpack" for target in TARGETS}
    children = []
    for target, file in files.items():
        if file.exists():
            continue
        if not (child := os.fork()):
            os.environ.update(
                DBT_TARGET_PATH=str(folder / target), DBT_LOG_PATH=str(folder / target / "logs")
            )
            project = runner.Project(REPOSITORY, folder / target)
            with runner.open_dbt(Database("127.0.0.1", 1, database, "perps"), project) as dbt:
                dbt.parse(["--target", target, *runner.base_variables("1", audit=True)])
                save_dbt_project(dbt.manifest, file)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    for target, file in files.items():
        MANIFESTS[target] = load_dbt_project(file)
    runner.Dbt = partial(runner.Dbt, manifest=MANIFESTS["default"])


def expect_one_thread() -> None:
    """Make sure that a fork is safe: neither Python nor a library has another thread."""
    native = Path("/proc/self/status").read_text().split("Threads:")[1].split()[0]
    if threading.active_count() != 1 or native != "1":
        raise RuntimeError(f"expected one thread, got {threading.enumerate()} and {native} native ones")


def become(told: Mapping[str, Any]) -> None:
    """Be the command: its environment, its output, its windows, its hit. Does not return."""
    code = 70
    try:
        said = Path(told["said"])
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        faulthandler.enable()
        os.environ.clear()
        os.environ.update(told["env"])
        time.tzset()
        os.chdir(said)
        tweak(told["buckets"])
        if told["hit"]:
            install(Hit(**told["hit"]), Victims(**told["victims"]))
        code = run(told["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(arguments: Sequence[str]) -> int:
    from extract.cli.main import main  # noqa: PLC0415

    if arguments[0] == "plain":
        return plain_dbt(arguments[1:])
    try:
        return main(arguments)
    except SystemExit as exit:
        return int(exit.code or 0)


def plain_dbt(arguments: Sequence[str]) -> int:
    """Run dbt as people do who do not use `perps`: it takes none of its locks."""
    from extract.settings import read_settings  # noqa: PLC0415
    from extract.transform import runner  # noqa: PLC0415

    settings = read_settings()
    with runner.open_dbt(settings.database(), settings.dbt) as dbt:
        dbt.manifest = MANIFESTS["dev" if "dev" in arguments else "default"]
        return 0 if dbt._invoke(arguments).success else 1


def tweak(buckets: int) -> None:
    """Make windows of `buckets` candles, so that short histories have many, hurry retries."""
    from extract.cli import shared  # noqa: PLC0415
    from extract.load import endpoint  # noqa: PLC0415

    endpoint.CANDLES_PER_WINDOW = buckets
    shared.DeribitClient = partial(
        shared.DeribitClient, sleep=lambda seconds: time.sleep(min(seconds, LONGEST_RETRY_S))
    )


if __name__ == "__main__":
    serve()
