"""Settings: environment variables and flags become one frozen object here and nowhere else."""

from __future__ import annotations

import argparse
import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import parse_dsn

from extract.database.database import LIBPQ, Database
from extract.deribit.urls import check_api_url
from extract.embedded.cluster import Cluster, default_cache, default_data
from extract.errors import UsageError
from extract.transform.runner import Project

DEFAULT_API_URL = "https://www.deribit.com/api/v2"
DEFAULT_RATE = 20.0
DEFAULT_BURST = 20
PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE / "_project" if (PACKAGE / "_project").is_dir() else PACKAGE.parent
"""Folder of dbt_project.yml: beside the code in an installed package, else the checkout."""

TLS = {f"ssl{name}": f"PGSSL{name.upper()}" for name in ("mode", "rootcert", "cert", "key")}


@dataclass(frozen=True)
class Settings:
    """The settings of a run.

    Attributes:
        api_url: base URL of the Deribit API (`DERIBIT_API_URL`).
        requests_per_second: rate limit of all requests together (`DERIBIT_REQUESTS_PER_SECOND`).
        home: folder of the server's data, pipeline folders and logs (`PERPS_HOME`).
        cache: folder of the unpacked TimescaleDB packages (`PERPS_CACHE`).
        server: the database that the libpq variables name, None for the embedded server.
        project: folder of dbt_project.yml.
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
        """Whether to use the embedded server: PGHOST is not set, or names it, as after `perps db env`."""
        return self.server is None or self.cluster.is_reached_by(self.server)

    def database(self) -> Database:
        """Return the database to use; starts the embedded server if that is the one."""
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
    """Return the settings: flags override environment variables, and variables override defaults.

    Raises:
        UsageError: a variable or flag has an invalid value.
    """
    api_url, rate = read_api(
        getattr(flags, "api_url", None), getattr(flags, "requests_per_second", None), environment
    )
    return Settings(
        api_url=api_url,
        requests_per_second=rate,
        home=Path(environment.get("PERPS_HOME") or default_data(environment).parent).absolute(),
        cache=Path(environment.get("PERPS_CACHE") or default_cache(environment)).absolute(),
        server=_server(environment),
    )


def read_api(
    api_url: str | None, requests_per_second: float | None, environment: Mapping[str, str] = os.environ
) -> tuple[str, float]:
    """Return the base URL of the API and the rate limit in requests a second; None takes them from variables.

    Raises:
        UsageError: one of them cannot be used.
    """
    url = api_url or environment.get("DERIBIT_API_URL") or DEFAULT_API_URL
    check_api_url(url, allow_http=environment.get("DERIBIT_ALLOW_HTTP") == "1")
    variable = environment.get("DERIBIT_REQUESTS_PER_SECOND")
    return url.rstrip("/"), _rate(variable if requests_per_second is None else requests_per_second)


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


def environment_for(database: str | None, home: str | Path | None) -> dict[str, str]:
    """Return the environment variables for a database and a home that a Python program names.

    Args:
        database: `postgresql://user:password@host:port/name`; None keeps the libpq variables.
        home: value of PERPS_HOME; None keeps it.

    Raises:
        UsageError: the URL cannot be used.
    """
    environment = dict(os.environ)
    if home is not None:
        environment["PERPS_HOME"] = str(home)
    if database is not None:
        # variables that are about another server must not complete the URL
        for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER"):
            environment.pop(name, None)
        environment |= _libpq(database)
    return environment


def _libpq(url: str) -> dict[str, str]:
    """Return the libpq variables of a database's URL.

    Raises:
        UsageError: it is not such a URL, or has a parameter without a variable.
    """
    try:
        named = parse_dsn(url) if url.startswith(("postgresql://", "postgres://")) else {}
    except psycopg2.ProgrammingError:
        named = {}
    unknown = sorted(named.keys() - LIBPQ.keys() - TLS.keys())
    if "host" not in named or unknown:
        what = f"one with {', '.join(unknown)}" if unknown else "something else"
        raise UsageError(
            f"expected database as postgresql://user:password@host:port/name, got {what}; "
            "leave it out to use the libpq variables"
        )
    return {(LIBPQ | TLS)[name]: value for name, value in named.items()}
