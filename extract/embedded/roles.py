"""The roles and databases of the embedded server, created by its superuser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import cursor as PgCursor
from psycopg2.extensions import encrypt_password

from extract.database.database import Database, one_row
from extract.embedded.errors import EmbedError
from extract.embedded.programs import ProgramFailed, run

SUPERUSER = "postgres"
OWNER = "perps"
READER = "perps_reader"
ROLES = (SUPERUSER, OWNER, READER)

_SCRIPTS = tuple(Path(__file__).with_name(name) for name in ("alone.sql", "roles.sql"))
"""SQL files that the container's first start also runs. The second one is one transaction: if the
extension is there, everything else in the file is."""


def ensure_database(psql: Path, superuser: Database, name: str, passwords: Mapping[str, str]) -> None:
    """Create the database `name` with `roles.sql`, and the roles if they are missing.

    Passwords are sent as SCRAM verifiers, so that no server log can contain a password.

    Args:
        psql: path of the program psql.
        superuser: any database of the server, to open as its superuser.
        name: name of the database.
        passwords: passwords of the application role and the reader.

    Raises:
        EmbedError: the server refused.
    """
    with _session(superuser) as cursor:
        cursor.execute("select 1 from pg_database where datname = %s", (name,))
        if not cursor.fetchone():
            # template0: TimescaleDB's launcher visits template1, and a visited template cannot be copied
            cursor.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    prepared = superuser.with_database(name)
    with _session(prepared) as cursor:
        cursor.execute("select 1 from pg_extension where extname = 'timescaledb'")
        if cursor.fetchone():
            return
        verifiers = {
            f"{role.upper()}_PASSWORD": encrypt_password(
                passwords[role], role, scope=cursor, algorithm="scram-sha-256"
            )
            for role in (OWNER, READER)
        }
    files = [f"--file={script}" for script in _SCRIPTS]
    try:
        run([psql, "--no-psqlrc", "--set=ON_ERROR_STOP=1", *files], variables=prepared.env() | verifiers)
    except ProgramFailed as failed:
        raise _unprepared(name, failed.reason) from None


def remove_database(superuser: Database, name: str) -> None:
    """Drop the database `name` if it exists, and end its sessions.

    Raises:
        EmbedError: the database is one of the server's own.
    """
    if name in ("postgres", "template0", "template1"):
        raise EmbedError(f"the server itself needs database {name}; name another")
    with _session(superuser) as cursor:
        cursor.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def update_extension(superuser: Database) -> None:
    """Update TimescaleDB in every database to the version of the installed packages.

    The update must be the session's first statement: the old version's library is no longer installed.
    """
    with _session(superuser) as cursor:
        cursor.execute("select datname from pg_database where datallowconn and not datistemplate")
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        with _session(superuser.with_database(name)) as cursor, contextlib.suppress(errors.UndefinedObject):
            cursor.execute("alter extension timescaledb update")


def server_facts(superuser: Database) -> tuple[str, str, str]:
    """Return the running server's PostgreSQL version, TimescaleDB version and edition."""
    with _session(superuser) as cursor:
        version, extension, edition = one_row(
            cursor,
            "select split_part(current_setting('server_version'), ' ', 1), "
            "(select extversion from pg_extension where extname = 'timescaledb'), "
            "current_setting('timescaledb.license')",
        )
    return version, extension, edition


@contextlib.contextmanager
def _session(database: Database) -> Iterator[PgCursor]:
    """Yield a cursor on a new connection in autocommit mode, and close the connection afterwards."""
    opened = database.connect()
    try:
        with opened.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise _unprepared(database.dbname, " ".join(str(error).split())) from None
    finally:
        opened.close()


def _unprepared(name: str, reason: str) -> EmbedError:
    return EmbedError(
        f"could not prepare database {name} on the embedded server: {reason}; run the same command again"
    )
