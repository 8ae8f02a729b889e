"""A database and how to connect to it: as libpq variables, as a URL or as an open connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as PgCursor

from extract.core.advice import NOT_YET
from extract.errors import PerpsError

PATIENCE: Mapping[str, int] = {
    "connect_timeout": 10,
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 120_000,
}
"""libpq parameters with which a silent network ends a connection after two minutes instead of hours. The last
one is in milliseconds, those before it in seconds, `keepalives_count` in probes."""

SESSION = (
    "-c timezone=UTC -c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=6"
    " -c timescaledb.max_tuples_decompressed_per_dml_transaction=0 -c jit=off -c work_mem=64MB"
)
"""Settings of each session. The keepalives let the server release the locks of a client that is gone.
Decompressed rows are not limited, because TimescaleDB counts every row of the batches that hold a correction.
JIT is off, because compiling takes longer than it saves. work_mem keeps sorts in memory."""


LIBPQ = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
}
"""The variable of each libpq parameter that a `Database` has."""


class DatabaseError(PerpsError):
    """The database cannot be reached, or is not what this tool needs."""


@dataclass(frozen=True)
class Database:
    """A database and the role that opens it. Empty fields are left to libpq (`~/.pgpass`, service files)."""

    host: str
    port: int
    dbname: str
    user: str
    password: str = field(default="", repr=False)

    def env(self) -> dict[str, str]:
        """Return libpq variables with which psql, dbt and dlt use this database."""
        named = {variable: str(getattr(self, name)) for name, variable in LIBPQ.items()}
        return {variable: value for variable, value in named.items() if value}

    def url(self, parameters: Mapping[str, int] | None = None) -> str:
        """Return the connection as `postgresql://user:password@host:port/database`.

        Args:
            parameters: libpq parameters, added as the URL's query.
        """
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        user, dbname = quote(self.user, safe=""), quote(self.dbname, safe="")
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?{urlencode(parameters)}" if parameters else ""
        return f"postgresql://{user}{secret}@{host}:{self.port}/{dbname}{query}"

    def with_database(self, dbname: str) -> Database:
        """Return the same server and role with another database."""
        return replace(self, dbname=dbname)

    @contextmanager
    def reading(self) -> Iterator[PgCursor]:
        """Yield a cursor on a new connection, which is closed afterwards.

        Raises:
            DatabaseError: see `connect`.
        """
        opened = self.connect()
        try:
            with opened.cursor() as cursor:
                yield cursor
        finally:
            opened.close()

    def connect(self, *, autocommit: bool = True, **patience: int) -> PgConnection:
        """Open a psycopg2 connection whose session time zone is UTC.

        Args:
            autocommit: whether each statement is its own transaction.
            patience: values that override those in `PATIENCE`.

        Raises:
            DatabaseError: the server does not respond, or refuses this role or database.
        """
        settings: dict[str, Any] = {**PATIENCE, **patience}
        try:
            opened: PgConnection = psycopg2.connect(
                host=self.host,
                port=self.port,
                dbname=self.dbname,
                user=self.user,
                password=self.password or None,
                application_name="perps",
                options=SESSION,
                **settings,
            )
        except psycopg2.OperationalError as error:
            reason = " ".join(str(error).split())
            check = "check the PG variables, or unset PGHOST to use the embedded server"
            soon = any(words in reason for words in NOT_YET)
            raise DatabaseError(
                f"could not connect to {self.host}:{self.port}/{self.dbname}: {reason}; "
                f"{'wait a moment, then run the same command again' if soon else check}"
            ) from None
        opened.autocommit = autocommit
        return opened


def one_row(
    cursor: PgCursor, query: str | sql.Composable, values: Sequence[Any] | Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    """Return the row of a query that always returns one, such as an aggregate."""
    cursor.execute(query, values)
    row = cursor.fetchone()
    assert row is not None
    return row
