"""`perps` as a person types it: the environment of a shell, and a process that runs the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from extract.database.database import Database
from tests.support.warm import WarmPerps

PROJECT = Path(__file__).resolve().parents[2]
FOREIGN = (
    *("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD"),
    *("DERIBIT_API_URL", "DERIBIT_ALLOW_HTTP", "DERIBIT_REQUESTS_PER_SECOND"),
)
"""Variables of this machine that no test may see."""

SHARING = frozenset(
    {
        "backfill",
        "update",
        "repair",
        "verify",
        "reconcile",
        "audit",
        "report",
        "export",
        "instruments",
        "dbt",
        "doctor",
    }
)
"""Commands that tests run in one process: starting takes them longer than their work."""

Result = subprocess.CompletedProcess[str]
Perps = Callable[..., Result]


def perps_command(*arguments: str) -> list[str]:
    """Return the command line of `perps` with this interpreter."""
    return [sys.executable, "-m", "extract", *arguments]


def perps_environment(
    environment: Mapping[str, str],
    database: Database | None = None,
    api: str | None = None,
    env: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return an environment that names a database and an API."""
    parsed = {}
    if database and "DBT_TARGET_PATH" in environment:
        parsed = {"DBT_TARGET_PATH": f"{environment['DBT_TARGET_PATH']}-{database.dbname}"}
    return {
        **environment,
        **parsed,
        **(database.env() if database else {}),
        **({"DERIBIT_API_URL": api} if api else {}),
        **(env or {}),
    }


class PerpsRunner:
    """Runs commands in the environment of a person's shell.

    Those of SHARING share one process, see `tests.support.warm`; the others, and all `alone`, have their own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._warm: WarmPerps | None = None

    def __call__(
        self,
        *arguments: str,
        database: Database | None = None,
        api: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 240,
        alone: bool = False,
    ) -> Result:
        """Run a command; say how it ended and what it printed."""
        variables = perps_environment(self._environment, database, api, env)
        folder, own_code = self._environment["PERPS_HOME"], self._environment["PYTHONPATH"]
        if not alone and arguments[:1] and arguments[0] in SHARING and variables["PYTHONPATH"] == own_code:
            self._warm = self._warm or WarmPerps(own_code)
            return self._warm.run(arguments, variables, folder, timeout)
        return run_program(perps_command(*arguments), variables, folder, timeout)

    def stop(self) -> None:
        """End the process that commands share."""
        if self._warm:
            self._warm.stop()


def run_program(
    command: list[str], env: Mapping[str, str], folder: str | Path | None = None, timeout: float = 240
) -> Result:
    """Run a program whose exit code the test looks at."""
    return subprocess.run(
        command, env=env, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
    )


def expect(done: Result) -> str:
    """Return what a command that succeeded has printed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def error_line(done: Result, code: int = 1) -> str:
    """Return the one line on stderr that says what is wrong and what to do."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (len(lines), done.returncode) == (1, code), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]
