"""Where everything is: environment and flags become one frozen object here and nowhere else."""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from extract.database.database import Database
from extract.deribit.urls import check_api_url
from extract.embedded.cluster import Cluster, default_cache, default_data
from extract.errors import UsageError
from extract.transform.runner import Project

DEFAULT_API_URL = "https://www.deribit.com/api/v2"
DEFAULT_RATE = 20.0
DEFAULT_BURST = 20
PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE / "_project" if (PACKAGE / "_project").is_dir() else PACKAGE.parent
"""Where dbt_project.yml is: in an installed package beside the code, else the checkout."""


@dataclass(frozen=True)
class Settings:
    """What a run needs to know about its surroundings.

    Attributes:
        api_url: base address of the Deribit API (`DERIBIT_API_URL`).
        requests_per_second: budget of all requests together (`DERIBIT_REQUESTS_PER_SECOND`).
        home: folder of everything that is kept: server data, pipeline folders, logs (`PERPS_HOME`).
        cache: folder of the unpacked TimescaleDB packages (`PERPS_CACHE`).
        server: the database that the libpq variables name, None for the embedded server.
        project: where dbt_project.yml is.
    """

    api_url: str
    requests_per_second: float
    home: Path
    cache: Path
    server: Database | None
    project: Path = PROJECT

    @property
    def server_data(self) -> Path:
        """Folder of the embedded server."""
        return self.home / "server"

    @property
    def cluster(self) -> Cluster:
        """The embedded server, started or not."""
        return Cluster(self.server_data, self.cache)

    @property
    def embeds(self) -> bool:
        """Whether the embedded server is meant: PGHOST names none, or that one, as `perps db env` has it."""
        return self.server is None or self.cluster.is_reached_by(self.server)

    def database(self) -> Database:
        """Return the database to use; starts the embedded server where that is meant."""
        if self.server and not self.embeds:
            return self.server
        started = self.cluster.start()
        return self.server or started

    @property
    def pipelines(self) -> Path:
        """Folder of dlt's working files."""
        return self.home / "pipelines"

    @property
    def dbt(self) -> Project:
        """The dbt project, and the folder of dbt's target, logs and profile."""
        return Project(self.project, self.home / "dbt")

    @property
    def logs(self) -> Path:
        """Folder of the rotating log files."""
        return self.home / "logs"


def read_settings(
    environment: Mapping[str, str] = os.environ, flags: argparse.Namespace | None = None
) -> Settings:
    """Return the settings: flags win over variables, variables over defaults.

    Raises:
        UsageError: a variable or flag cannot be used.
    """
    rate = getattr(flags, "requests_per_second", None)
    api_url = getattr(flags, "api_url", None) or environment.get("DERIBIT_API_URL") or DEFAULT_API_URL
    check_api_url(api_url, allow_http=environment.get("DERIBIT_ALLOW_HTTP") == "1")
    return Settings(
        api_url=api_url.rstrip("/"),
        requests_per_second=_rate(environment.get("DERIBIT_REQUESTS_PER_SECOND") if rate is None else rate),
        home=Path(environment.get("PERPS_HOME") or default_data(environment).parent).absolute(),
        cache=Path(environment.get("PERPS_CACHE") or default_cache(environment)).absolute(),
        server=_server(environment),
    )


def _rate(given: str | float | None) -> float:
    if given is None or given == "":
        return DEFAULT_RATE
    try:
        rate = float(given)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise UsageError(f"expected a number above 0 in DERIBIT_REQUESTS_PER_SECOND, got {given!r}")
    return rate


def _server(environment: Mapping[str, str]) -> Database | None:
    if not environment.get("PGHOST"):
        return None
    if environment["PGHOST"].startswith("/"):
        raise UsageError(
            "expected a host name or address in PGHOST, got a socket folder; try PGHOST=127.0.0.1"
        )
    user = environment.get("PGUSER") or getpass.getuser()
    port = environment.get("PGPORT") or "5432"
    if not port.isdigit():
        raise UsageError(f"expected a port number in PGPORT, got {port!r}")
    return Database(
        host=environment["PGHOST"],
        port=int(port),
        dbname=environment.get("PGDATABASE") or user,
        user=user,
        password=environment.get("PGPASSWORD", ""),
    )
