"""One embedded server for the whole session, a fresh database per test, an exchange a module, and `perps`."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from extract.database.database import Database
from extract.embedded.cluster import Cluster, EmbedError
from extract.settings import read_settings
from extract.simulator import RunningSimulator
from tests.support.exchange import simulated
from tests.support.perps import FOREIGN, PROJECT, Perps, PerpsRunner
from tests.support.truth import execute

# a busy machine makes drawing examples slow; that says nothing about the code
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

SHARED = PROJECT.parent / "shared"
PREPARED = "prepared"
"""The database that others are copies of: making the extension takes three times as long as a copy."""


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """Undo what a shell does to programs that it starts in the background: they ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
    superuser = cluster.database("postgres", "postgres")
    # only a machine that loses power could tell, and waiting for the disk takes longer than most statements
    execute(superuser, "alter system set fsync = off", "select pg_reload_conf()")
    cluster.create_database(PREPARED)
    # which nobody opens, TimescaleDB's background workers neither, can be copied
    execute(
        superuser,
        f"alter database {PREPARED} is_template true allow_connections false",
        f"select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{PREPARED}'",
    )
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
    """Yield a copy of the prepared database, which is gone afterwards.

    For a new name dbt would parse the whole project anew.
    """
    execute(
        server.database("postgres", "postgres"),
        f"create database {name} template {PREPARED} owner perps",
        f"revoke all on database {name} from public",  # as roles.sql does: a copy has none of it
        f"grant connect on database {name} to perps_reader",
    )
    yield server.database(dbname=name)
    server.drop_database(name)


@pytest.fixture(scope="module")
def exchange(request: pytest.FixtureRequest) -> Iterator[RunningSimulator]:
    """The module's simulator, without a limit of requests; its EXCHANGE says what else it is like."""
    with simulated(**getattr(request.module, "EXCHANGE", {})) as running:
        yield running


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
    """`perps(*arguments, database=..., api=..., env=...)`: run the command as a person does."""
    runner = PerpsRunner(environment)
    yield runner
    runner.stop()


@pytest.fixture
def shared() -> Path:
    """The folder of recorded replies beside the checkout; a stranger's clone has none."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared here: recorded replies are not part of the project")
    return SHARED
