"""`perps` in a process that stays: importing dlt and dbt takes longer than most of the suite's commands.

What a person sees, a process of its own, is what the tests of errors, of killing, of `perps run` and of the
demo stand on.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path


class WarmPerps:
    """Runs `perps` commands one after the other in one process, with the environment that each is given.

    Args:
        code: the folder whose package `extract` runs.
    """

    def __init__(self, code: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, code), daemon=True)
        self._process.start()
        theirs.close()

    def run(
        self, arguments: Sequence[str], env: Mapping[str, str], folder: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Return what `subprocess.run` would.

        Raises:
            subprocess.TimeoutExpired: it was killed after `timeout` seconds.
        """
        with tempfile.TemporaryDirectory() as said:
            self._pipe.send((list(arguments), dict(env), folder, said))
            if not self._pipe.poll(timeout):
                self._process.kill()
                raise subprocess.TimeoutExpired(list(arguments), timeout)
            code = self._pipe.recv()
            out, err = (Path(said, name).read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess(["perps", *arguments], code, out, err)

    @property
    def pid(self) -> int:
        """Return the number of its process."""
        assert self._process.pid is not None
        return self._process.pid

    def stop(self) -> None:
        """End the process, by itself if it can: what it covered is written then."""
        with suppress(OSError):
            self._pipe.send(None)
        self._process.join(10)
        self._process.kill()
        self._process.join()


def _serve(pipe: connection.Connection, code: str) -> None:
    # in the process that stays
    sys.path.insert(0, code)
    from extract.cli.main import main  # noqa: PLC0415
    from tests.support.private import spare_the_stack  # noqa: PLC0415

    spare_the_stack()
    while command := pipe.recv():
        arguments, env, folder, said = command
        os.environ.clear()
        os.environ.update(env)
        time.tzset()
        os.chdir(folder)
        with Path(said, "out").open("w") as out, Path(said, "err").open("w") as err:
            sys.stdout, sys.stderr = out, err
            try:
                status = main(arguments)
            except SystemExit as exit:
                status = int(exit.code or 0)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        pipe.send(status)
