"""One embedded server for the whole session, a fresh database per test, and `perps` as a person runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from extract.database.database import Database
from extract.embedded.cluster import Cluster, EmbedError
from extract.settings import read_settings
from tests.support.warm import WarmPerps

# a busy machine makes drawing examples slow; that says nothing about the code
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"
FOREIGN = (
    "PGHOST",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "DERIBIT_API_URL",
    "DERIBIT_ALLOW_HTTP",
    "DERIBIT_REQUESTS_PER_SECOND",
)

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

Perps = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A private PERPS_HOME that the server's account can enter (pytest's own folders are closed to it)."""
    folder = Path(tempfile.mkdtemp(prefix="perps-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cache() -> Path:
    """The unpacked packages: shared with other runs, so that the network is used once per machine."""
    return read_settings().cache


@pytest.fixture(scope="session")
def server(home: Path, cache: Path) -> Iterator[Cluster]:
    """A running embedded server, gone with its data when the session ends."""
    cluster = Cluster(home / "server", cache)
    try:
        cluster.start()
    except EmbedError as error:
        pytest.skip(f"no embedded TimescaleDB here: {error}")
    yield cluster
    cluster.destroy()


@pytest.fixture
def database(server: Cluster) -> Iterator[Database]:
    """A fresh database with TimescaleDB, owned by the application role."""
    yield from fresh_database(server, "test")


@pytest.fixture(scope="module")
def module_database(server: Cluster) -> Iterator[Database]:
    """A fresh database that the tests of one module share."""
    yield from fresh_database(server, "module")


def fresh_database(server: Cluster, name: str) -> Iterator[Database]:
    """Yield a database that is gone afterwards; for a new name dbt would parse the whole project anew."""
    yield server.create_database(name)
    server.drop_database(name)


@pytest.fixture(scope="session")
def environment(home: Path, cache: Path) -> dict[str, str]:
    """The environment of a person's shell, without what this machine's has about servers and APIs."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return kept | {
        "PERPS_HOME": str(home),
        "PERPS_CACHE": str(cache),
        "PYTHONPATH": str(PROJECT),
        "DBT_TARGET_PATH": str(home / "target"),  # for each database one beside it
        "DBT_LOG_PATH": str(home / "dbt-logs"),
        "DBT_WRITE_JSON": "false",  # nothing reads what dbt writes of its runs, and writing takes a second
    }


@pytest.fixture(scope="session")
def perps(environment: dict[str, str]) -> Iterator[Perps]:
    """`perps(*arguments, database=..., api=..., env=...)`: run the command as a person does.

    Commands that load, build or look share one process, see `tests.support.warm`; with `alone`, and all
    others, run in a process of their own.
    """
    started: list[WarmPerps] = []

    def run(
        *arguments: str,
        database: Database | None = None,
        api: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 240,
        alone: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        variables, folder = perps_environment(environment, database, api, env), environment["PERPS_HOME"]
        shares = not alone and arguments[:1] and arguments[0] in SHARING
        if shares and variables["PYTHONPATH"] == environment["PYTHONPATH"]:
            started or started.append(WarmPerps())
            return started[0].run(arguments, variables, folder, timeout)
        return subprocess.run(  # noqa: PLW1510  # the test looks at the exit code
            perps_command(*arguments),
            env=variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=folder,
        )

    yield run
    for warm in started:
        warm.stop()


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


@pytest.fixture
def shared() -> Path:
    """The folder of recorded replies beside the checkout; a stranger's clone has none."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared here: recorded replies are not part of the project")
    return SHARED
