"""Runs dbt in a second process, which starts while candles are fetched, and builds while they land."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection, resource_tracker
from types import FrameType, TracebackType
from typing import TypeAlias

from extract.database.database import Database
from extract.errors import PerpsError
from extract.transform.runner import Project, expect_project, open_dbt

log = logging.getLogger(__name__)

BUILD_EVERY = 400_000
"""Number of landed candles after which a build starts while more candles are fetched."""

Request: TypeAlias = tuple[list[str], str] | None
"""A dbt command and the advice for its failure. None: candles have landed, so build them if dbt is idle."""

TABLES = ("--select", "config.materialized:hypertable")

STOP_TIMEOUT_S = 5.0


class Builder:
    """Runs dbt commands, one at a time, in a process that has imported dbt and read the project.

    dbt needs seconds of processor time before its first statement, which a second process does not take from
    the fetching one. The process ends with the block, or when this process ends for any reason; a running
    statement is cancelled. If it was killed, the next command starts it again.

    Args:
        database: the database of the raw tables and the models.
        project: the dbt project.
        variables: dbt's arguments for variables, the same for each command. See `base_variables`.
        wait_s: how long a command waits for another program's build to end, in seconds.
        build_every: number of landed candles after which a build begins during a load.
    """

    def __init__(
        self,
        database: Database,
        project: Project,
        variables: Sequence[str] = (),
        wait_s: float = 0,
        build_every: int = BUILD_EVERY,
    ) -> None:
        self._project, self._build_every = project, build_every
        self._work = (database, project, list(variables), wait_s)
        self._busy = False
        self._landed = 0

    def __enter__(self) -> Builder:
        self._begin()
        return self

    def _begin(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, *self._work), name="dbt", daemon=True)
        interrupts: list[int] = []
        before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
        resource_tracker.ensure_running()  # starting it later would lift the block of the signal
        # the new process inherits the block, because only this process may interrupt it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
        theirs.close()
        if interrupts and before != signal.SIG_IGN:
            self._end(interrupt=True)
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(interrupt=kind is not None or self._busy)

    def _end(self, *, interrupt: bool) -> None:
        if interrupt and self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGINT)
        self._pipe.close()
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    @property
    def pid(self) -> int | None:
        """Return the process id of dbt's process."""
        return self._process.pid

    def landed(self, candles: int) -> None:
        """Start a build, once dbt is idle, if enough candles have landed.

        This only saves time later: a failure is logged, and shows again in the next `run`.

        Args:
            candles: number of candles that have landed since the last call.
        """
        self._landed += candles
        if self._landed >= self._build_every:
            self._landed = 0
            self._send(None)

    def run(self, arguments: Sequence[str], advice: str = "") -> None:
        """Run a dbt command after the current one has ended. dbt prints its own output.

        Args:
            arguments: as typed after `dbt`, without variables.
            advice: what to do when it fails. See `raise_failed`.

        Raises:
            PerpsError: as `Dbt.run`, or its process ended.
        """
        expect_project(self._project)
        if not self._process.is_alive():
            self._end(interrupt=False)
            self._begin()
        self._send((list(arguments), advice))
        if problem := self._wait():
            raise problem

    def _send(self, request: Request) -> None:
        self._busy = True
        with suppress(BrokenPipeError):  # its process has ended, which `_wait` reports
            self._pipe.send(request)

    def _wait(self) -> PerpsError | None:
        """Return why the command that was sent failed, None if it succeeded; log failed builds before it."""
        request: Request
        problem: PerpsError | None
        try:
            request, problem = self._pipe.recv()
            while request is None:
                if problem:
                    log.warning("a build while candles were landing failed: %s", problem)
                request, problem = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._busy = False
            self._process.join(STOP_TIMEOUT_S)
            raise PerpsError(
                f"dbt did not finish, its process ended with exit code {self._process.exitcode}; "
                "what was loaded is safe, run the same command again"
            ) from None
        self._busy = False
        return problem


def _serve(
    pipe: connection.Connection,
    database: Database,
    project: Project,
    variables: Sequence[str],
    wait_s: float,
) -> None:
    """Run the commands that come through the pipe until it closes."""
    os.setsid()  # a terminal's interrupt is not for this process
    parent = multiprocessing.parent_process()
    assert parent is not None
    try:
        signal.signal(signal.SIGINT, _interrupted)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
        with open_dbt(database, project, wait_s) as dbt:
            dbt.parse(variables)
            early = ["--quiet", "run"]  # the first build beside a load also makes the views
            while True:
                request = pipe.recv()
                while request is None and pipe.poll():
                    request = pipe.recv()  # a command replaces a build that has not begun: it builds the same
                problem = None
                command, advice = request or (early, "")
                try:
                    dbt.run([*command, *variables], advice)
                    early = ["--quiet", "run", *TABLES] if request is None else early
                except PerpsError as error:
                    problem = error.with_traceback(None)
                sys.stdout.flush()  # before what the other process prints next
                pipe.send((request, problem))
    except (EOFError, ConnectionError, KeyboardInterrupt, PerpsError):
        return  # `Builder.run` reports which


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Make dbt cancel its running statements, without printing anything about it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    signal.default_int_handler(number, frame)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, cancelling dbt's running statements."""
    connection.wait([parent])
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(STOP_TIMEOUT_S)
    os._exit(1)
