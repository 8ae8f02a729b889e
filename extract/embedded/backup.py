"""A database of the embedded server as a file of pg_dump's custom format, and back."""

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
"""Letters of a restored database's name: its name while it is restored is ten longer, and 63 is the limit."""

LETTING_GO_SECONDS = 30
"""How long sessions that were told to end may take."""

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
    """Write the database `name` to `file`, replaced at once when all is written; return its bytes.

    The file has mode 0600 and shows the database at one moment: loads may go on meanwhile.

    Raises:
        EmbedError: there is no such database, the file cannot be written, or pg_dump fails.
    """
    with one_line_errors(), _part_of(file) as part:
        try:
            _program(cluster, "pg_dump", name, "--format=custom", "--file", part)
        except ProgramFailed as failed:
            raise EmbedError(
                f"expected a backup of database {name}, got {failed.reason}; "
                "check its name and the disk, and run it again while nothing builds"
            ) from None
        size = part.stat().st_size
        part.replace(file)
    return size


def restore(cluster: Cluster, name: str, file: Path) -> None:
    """Make the database `name` of a file that `back_up` wrote.

    It is restored under another name and gets its own at the end: what fails or is killed on the way leaves
    no database `name` that looks whole.

    Raises:
        UsageError: `name` is too long, or `file` cannot be read.
        EmbedError: the database has tables, the file is none of `back_up` or of another TimescaleDB, or it
            cannot be restored.
    """
    if len(name) > LONGEST_NAME:
        raise UsageError(f"expected a database name of at most {LONGEST_NAME} letters, got {len(name)}")
    try:
        file.open("rb").close()
    except OSError as error:
        raise UsageError(f"expected a file of `perps db backup`, got {file}: {error.strerror}") from None
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
    """Make sure that there is no database `name`, or one without tables.

    Raises:
        EmbedError: it has tables.
    """
    with server.reading() as cursor:
        cursor.execute("select 1 from pg_database where datname = %s", [name])
        if not cursor.fetchone():
            return
    with server.with_database(name).reading() as cursor:
        (tables,) = one_row(cursor, _TABLES)
    if tables:
        raise EmbedError(
            f"expected a database {name} without tables, got {tables} tables and views; restore into another "
            "one with --database NAME, or delete every database first: perps db destroy --yes"
        )


def expect_version(cluster: Cluster, file: Path) -> None:
    """Make sure that a file is a dump by the installed version of TimescaleDB, which alone can read it.

    Raises:
        EmbedError: it is not.
    """
    catalogue = ("--data-only", "--schema=_timescaledb_catalog", "--table=metadata", "--file=-")
    try:
        said = run([cluster.program("pg_restore"), *catalogue, file.absolute()])
    except ProgramFailed as failed:
        raise EmbedError(
            f"expected a file of `perps db backup`, got {file}: {failed.reason}; name another"
        ) from None
    dumped = re.search(r"^timescaledb_version\t(\S+)", said, re.M)
    if not dumped:
        raise EmbedError(f"expected a dump of a database with TimescaleDB, got {file}; name another")
    installed = cluster.status().timescaledb_version
    if dumped[1] != installed:
        raise EmbedError(
            f"expected a dump by TimescaleDB {installed}, which is installed, got one by {dumped[1]}; "
            "restore it into a server of that version, update the extension there, and dump that"
        )


def _fill(cluster: Cluster, name: str, file: Path) -> None:
    with _session(cluster, name) as cursor:
        cursor.execute("select timescaledb_pre_restore()")
    try:
        _program(cluster, "pg_restore", name, "--exit-on-error", file.absolute())
    except ProgramFailed as failed:
        raise EmbedError(
            f"expected to restore all of {file}, got {failed.reason}; "
            "nothing was kept: create the role if one is missing, or name another file"
        ) from None
    with _session(cluster, name) as cursor:
        cursor.execute("select timescaledb_post_restore()")
    with _session(cluster, name) as cursor:
        cursor.execute("analyze")  # a dump has no statistics


def _rename(server: Database, unfinished: str, name: str) -> None:
    """Give the restored database its name. TimescaleDB's scheduler is in it, and comes back when ended."""
    expect_room(server, name)
    roles.remove_database(server, name)
    before, after = sql.Identifier(unfinished), sql.Identifier(name)
    with server.reading() as cursor:
        cursor.execute(sql.SQL("alter database {} allow_connections false").format(before))
        deadline = time.monotonic() + LETTING_GO_SECONDS
        while _end_sessions(cursor, unfinished):
            if time.monotonic() > deadline:
                raise EmbedError(f"expected no session in database {unfinished}, got some; try again")
            time.sleep(0.05)
        # one statement string, hence one transaction: there is no moment with a name and no way in
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
    """Run one of PostgreSQL's programs as the superuser, who alone may write TimescaleDB's catalogue."""
    reached = cluster.database(roles.SUPERUSER, name)
    run([cluster.program(program), "--dbname", name, *words], variables=reached.env())


@contextmanager
def _part_of(file: Path) -> Iterator[Path]:
    """Yield an empty file of mode 0600 beside `file`, removed at the end unless it was renamed."""
    handle, path = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.", suffix=".part")
    os.close(handle)
    try:
        yield Path(path)
    finally:
        with suppress(FileNotFoundError):
            Path(path).unlink()
