"""`perps` in a process of its own that has its libraries imported, because it is forked from a server.

Importing dbt and dlt takes longer than most commands, and the suite starts more than a hundred.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

LIBRARIES = [
    "tests.warm",
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "dlt",
    "dlt.destinations",
    "pyarrow",
    "extract.cli",
]


def fork_server() -> ForkServerContext:
    """Return a context whose processes begin with the libraries imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


def run_forked(
    context: ForkServerContext,
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    folder: str,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Run `perps` with exactly this environment in `folder`; return what subprocess.run would.

    Raises:
        subprocess.TimeoutExpired: it was killed after `timeout` seconds.
    """
    with tempfile.TemporaryDirectory() as said:
        out, err = Path(said, "out"), Path(said, "err")
        process = context.Process(target=_become, args=(arguments, dict(env), folder, str(out), str(err)))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout)
        return subprocess.CompletedProcess(
            ["perps", *arguments], int(process.exitcode or 0), out.read_text(), err.read_text()
        )


def _become(arguments: tuple[str, ...], env: dict[str, str], folder: str, out: str, err: str) -> None:
    for number, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, number)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(folder)
    sys.argv = ["perps", *arguments]
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)

    from extract.cli import main  # noqa: PLC0415  # in the forked process, where it is imported already

    code = main(list(arguments))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
