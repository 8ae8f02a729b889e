"""Backup of a database of the embedded server to a file in pg_dump's custom format, and restore."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import cursor as PgCursor

from extract.database.database import Database, one_row
from extract.embedded import roles
from extract.embedded.cluster import Cluster
from extract.embedded.errors import EmbedError
from extract.embedded.files import locked, one_line_errors
from extract.embedded.programs import ProgramFailed, run
from extract.errors import UsageError

logger = logging.getLogger(__name__)

LONGEST_NAME = 53
"""Letters of a restored database's name. PostgreSQL allows 63; the temporary name is ten letters longer."""

LETTING_GO_SECONDS = 30
"""Seconds to wait for terminated sessions to end."""

_TABLES = """
select count(*)
from pg_class as relations
inner join pg_namespace as schemas on schemas.oid = relations.relnamespace
where relations.relkind in ('r', 'p', 'v', 'm', 'f')
    and schemas.nspname not in ('pg_catalog', 'information_schema')
    and schemas.nspname !~ '^(pg_toast|_timescaledb_)'
    and not exists (
        select from pg_depend
        where classid = 'pg_class'::regclass
            and objid = relations.oid
            and deptype = 'e'
    )
"""


def back_up(cluster: Cluster, name: str, file: Path) -> int:
    """Write the database `name` to `file`, which is replaced only when complete; return its size in bytes.

    The file has mode 0600 and holds a snapshot of the database: loads can continue.

    Raises:
        EmbedError: there is no such database, the file cannot be written, or pg_dump fails.
    """
    with one_line_errors(), _part_of(file) as part:
        try:
            _program(cluster, "pg_dump", name, "--format=custom", "--file", part)
        except ProgramFailed as failed:
            raise EmbedError(
                f"could not back up database {name}: {failed.reason}; "
                "check its name and the disk, and run the same command again when no build is running"
            ) from None
        size = part.stat().st_size
        part.replace(file)
    return size


def restore(cluster: Cluster, name: str, file: Path) -> None:
    """Restore the database `name` from a file that `back_up` wrote.

    It is restored under a temporary name and renamed at the end: a restore that fails or is killed never
    leaves an incomplete database `name`.

    Raises:
        UsageError: `name` is too long, or `file` cannot be read.
        EmbedError: the database has tables, the file is not a backup or is of another TimescaleDB version, or
            the restore fails.
    """
    if len(name) > LONGEST_NAME:
        raise UsageError(f"expected a database name of at most {LONGEST_NAME} letters, got {len(name)}")
    try:
        file.open("rb").close()
    except OSError as error:
        raise UsageError(
            f"could not read {file}: {error.strerror}; name a file that perps db backup wrote"
        ) from None
    server = cluster.database(roles.SUPERUSER, "postgres")
    with locked(cluster.data / ".restore"):
        expect_room(server, name)
        expect_version(cluster, file)
        unfinished = f"{name}_restoring"
        roles.remove_database(server, unfinished)
        cluster.create_database(unfinished)
        try:
            _fill(cluster, unfinished, file)
            _rename(server, unfinished, name)
        finally:
            roles.remove_database(server, unfinished)


def expect_room(server: Database, name: str) -> None:
    """Make sure that there is no database `name`, or that it is empty.

    Raises:
        EmbedError: the database has tables.
    """
    with server.reading() as cursor:
        cursor.execute("select 1 from pg_database where datname = %s", [name])
        if not cursor.fetchone():
            return
    with server.with_database(name).reading() as cursor:
        (tables,) = one_row(cursor, _TABLES)
    if tables:
        raise EmbedError(
            f"database {name} is not empty, it has {tables} tables and views; restore into another one with "
            "--database NAME, or delete every database first: perps db destroy --yes"
        )


def expect_version(cluster: Cluster, file: Path) -> None:
    """Make sure that a file is a dump by the installed version of TimescaleDB: no other version can read it.

    Raises:
        EmbedError: the file is not such a dump.
    """
    catalogue = ("--data-only", "--schema=_timescaledb_catalog", "--table=metadata", "--file=-")
    try:
        listing = run([cluster.program("pg_restore"), *catalogue, file.absolute()])
    except ProgramFailed as failed:
        raise EmbedError(
            f"{file} is not a backup: {failed.reason}; name a file that perps db backup wrote"
        ) from None
    dumped = re.search(r"^timescaledb_version\t(\S+)", listing, re.M)
    if not dumped:
        raise EmbedError(
            f"{file} is a dump of a database without TimescaleDB; name a file that perps db backup wrote"
        )
    installed = cluster.status().timescaledb_version
    if dumped[1] != installed:
        raise EmbedError(
            f"{file} is a dump by TimescaleDB {dumped[1]}, but {installed} is installed; "
            "restore it into a server of that version, update the extension there, and dump it again"
        )


def _fill(cluster: Cluster, name: str, file: Path) -> None:
    with _session(cluster, name) as cursor:
        cursor.execute("select timescaledb_pre_restore()")
    try:
        _program(cluster, "pg_restore", name, "--exit-on-error", file.absolute())
    except ProgramFailed as failed:
        raise EmbedError(
            f"could not restore {file}: {failed.reason}; "
            "nothing was kept; if a role is missing, create it, else name another file"
        ) from None
    with _session(cluster, name) as cursor:
        cursor.execute("select timescaledb_post_restore()")
    with _session(cluster, name) as cursor:
        cursor.execute("analyze")  # a dump has no statistics


def _rename(server: Database, unfinished: str, name: str) -> None:
    """Rename the restored database. TimescaleDB's scheduler has a session in it, and restarts when ended."""
    expect_room(server, name)
    roles.remove_database(server, name)
    before, after = sql.Identifier(unfinished), sql.Identifier(name)
    with server.reading() as cursor:
        cursor.execute(sql.SQL("alter database {} allow_connections false").format(before))
        deadline = time.monotonic() + LETTING_GO_SECONDS
        while _end_sessions(cursor, unfinished):
            if time.monotonic() > deadline:
                raise EmbedError(
                    f"other sessions are still using database {unfinished}; run the same command again"
                )
            time.sleep(0.05)
        # one string is one transaction: the database is never renamed but closed to connections
        statements = (
            "alter database {before} allow_connections true; alter database {before} rename to {after}"
        )
        cursor.execute(sql.SQL(statements).format(before=before, after=after))


def _end_sessions(cursor: PgCursor, name: str) -> int:
    ended = "select count(*), count(pg_terminate_backend(pid)) from pg_stat_activity where datname = %s"
    return int(one_row(cursor, ended, [name])[0])


@contextmanager
def _session(cluster: Cluster, name: str) -> Iterator[PgCursor]:
    with cluster.database(roles.SUPERUSER, name).reading() as cursor:
        yield cursor


def _program(cluster: Cluster, program: str, name: str, *words: str | Path) -> None:
    """Run one of PostgreSQL's programs as the superuser: only it may write TimescaleDB's catalogue."""
    database = cluster.database(roles.SUPERUSER, name)
    run([cluster.program(program), "--dbname", name, *words], variables=database.env())


@contextmanager
def _part_of(file: Path) -> Iterator[Path]:
    """Yield an empty file of mode 0600 beside `file`; it is removed at the end unless it was renamed."""
    handle, path = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.", suffix=".part")
    os.close(handle)
    try:
        yield Path(path)
    finally:
        with suppress(FileNotFoundError):
            Path(path).unlink()
