"""Runs dbt in this process, with the database connection set up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from extract.database.database import Database
from extract.database.locks import BUILD_LOCK, run_lock
from extract.errors import PerpsError
from extract.transform.failures import raise_failed

WRITING = frozenset({"build", "run", "seed", "snapshot", "test", "retry", "upkeep"})
"""dbt commands, and an operation, that create or alter relations. They need a lock, because dbt does not
notice another dbt at work."""

BUILD = ("build", "--exclude-resource-type", "unit_test")
"""dbt's arguments to build and test everything but unit tests, which check the models on made-up rows."""

SESSION = "-c jit=off -c work_mem=64MB"
"""PostgreSQL's options for dbt's sessions, on any server: compiling takes longer than it saves."""


@dataclass(frozen=True)
class Project:
    """The dbt project, which is only read, and the folder that dbt writes to.

    Attributes:
        folder: the folder of dbt_project.yml.
        files: folder for the profile, and for target and logs where `DBT_TARGET_PATH` and `DBT_LOG_PATH` name
            no others; need not exist.
    """

    folder: Path
    files: Path


def run_dbt(
    arguments: Sequence[str], database: Database, project: Project, wait_s: float = 0, *, advice: str = ""
) -> None:
    """Run one dbt command against a database. See `Dbt.run`."""
    with open_dbt(database, project, wait_s) as dbt:
        dbt.run(arguments, advice)


@dataclass
class Dbt:
    """dbt for one project and connection.

    Attributes:
        database: the database of the raw tables and the models.
        wait_s: how long a command that writes waits for another one to end, in seconds.
        manifest: the project as the last `parse` read it, which later commands reuse; None: not parsed yet.
    """

    database: Database
    wait_s: float = 0
    manifest: Any = None

    def parse(self, arguments: Sequence[str] = ()) -> None:
        """Read the project once for the commands that follow, which must have the same variables."""
        self.manifest = self._invoke(["--quiet", "parse", *arguments]).result

    def run(self, arguments: Sequence[str], advice: str = "") -> None:
        """Run a dbt command. dbt prints its own output.

        Args:
            arguments: as typed after `dbt`, such as ["build", "--select", "perpetuals_ohlcv"].
            advice: what to do when it fails. See `raise_failed`.

        Raises:
            NodesFailedError: a model or test failed.
            PerpsError: another build is running, or dbt failed before it ran anything.
            KeyboardInterrupt: it was interrupted, and has cancelled its statements.
        """
        writes = WRITING.intersection(arguments)
        with run_lock(self.database, BUILD_LOCK, self.wait_s) if writes else nullcontext():
            result = self._invoke(arguments)
        if isinstance(result.exception, KeyboardInterrupt):
            raise result.exception
        if result.exception is not None:
            reason = " ".join(str(result.exception).split())[:300]
            raise PerpsError(f"dbt could not run {' '.join(arguments)}: {reason}")
        if not result.success:
            raise_failed(arguments, result.result, advice)

    def _invoke(self, arguments: Sequence[str]) -> Any:
        from dbt.cli.main import dbtRunner  # noqa: PLC0415  # takes seconds: only commands that need dbt pay

        return dbtRunner(manifest=self.manifest).invoke(list(arguments))


def expect_project(project: Project) -> None:
    """Make sure that there is a dbt project.

    Raises:
        PerpsError: there is none.
    """
    if not (project.folder / "dbt_project.yml").is_file():
        raise PerpsError(
            f"no dbt_project.yml in {project.folder}; to install from a clone, run there: make install"
        )


@contextmanager
def open_dbt(database: Database, project: Project, wait_s: float = 0) -> Iterator[Dbt]:
    """Yield dbt for a project and a database.

    The profile is `profiles.yml.example`, which holds no secret: everything comes from the libpq variables.

    Args:
        database: the database of the raw tables and the models.
        project: the dbt project.
        wait_s: see `Dbt`.

    Raises:
        PerpsError: there is no dbt project, or dbt's folder cannot be written.
    """
    expect_project(project)
    places = {
        "DBT_PROJECT_DIR": str(project.folder),
        "DBT_PROFILES_DIR": str(_write_profile(project)),
        "DBT_TARGET_PATH": os.environ.get("DBT_TARGET_PATH") or str(project.files / "target"),
        "DBT_LOG_PATH": os.environ.get("DBT_LOG_PATH") or str(project.files / "logs"),
    }
    # the last option counts, so the user's own options win
    options = {"PGOPTIONS": f"{SESSION} {os.environ.get('PGOPTIONS', '')}".strip()}
    with _environment({**database.env(), **places, **options}):
        yield Dbt(database, wait_s)


def _write_profile(project: Project) -> Path:
    """Write the profile, without disturbing commands that read it, and return its folder.

    Raises:
        PerpsError: it cannot be written.
    """
    part = project.files / f"profiles.yml.{os.getpid()}"
    try:
        project.files.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project.folder / "profiles.yml.example", part)
        part.replace(project.files / "profiles.yml")
    except OSError as error:
        raise PerpsError(
            f"could not write dbt's files to {project.files}: {error.strerror}; "
            "set PERPS_HOME to a folder that can be written"
        ) from None
    return project.files


def base_variables(resolution: str, *, audit: bool = False) -> list[str]:
    """Return dbt's arguments for the table's resolution and for audits; none for the defaults."""
    named = [] if resolution == "1" else [f"base_resolution: '{resolution}'"]
    named += ["audit: true"] if audit else []
    return ["--vars", f"{{{', '.join(named)}}}"] if named else []


@contextmanager
def expecting_models() -> Iterator[None]:
    """Turn the error of a query on a missing model into one that names the command to run.

    Raises:
        PerpsError: a model is missing.
    """
    try:
        yield
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        raise PerpsError("the dbt models are not built yet; run: perps dbt -- build") from None


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for dbt's env_var(), and restore the old ones afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
