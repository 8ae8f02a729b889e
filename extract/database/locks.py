"""One load and one build at a time: advisory locks in the database, which end with their session."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as PgCursor

from extract.core.advice import AGAIN
from extract.database.database import Database, DatabaseError, one_row
from extract.errors import PerpsError

log = logging.getLogger(__name__)

LOCK, BUILD_LOCK = (0x7065_7270, 1), (0x7065_7270, 2)  # "perp": advisory locks of loads and of builds

LOOK_EVERY_S = 0.5

POOLED = (
    "a pooler shares the sessions of database {dbname} between clients (such as PgBouncer in transaction "
    "mode), so that two loads could run at once; "
    "set PGHOST and PGPORT to the server itself, or to a pool in session mode"
)

HOLDER = """
select
    pid = pg_backend_pid(),
    format(
        ', running since %%s (session %%s%%s)',
        to_char(backend_start, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), pid, ' from ' || host(client_addr)
    )
from pg_locks
join pg_stat_activity using (pid)
where locktype = 'advisory' and granted
    and classid::bigint = %s and objid::bigint = %s
    and pg_locks.database = (select oid from pg_database where datname = current_database())
"""
"""Whether this session holds a lock, and which session holds it, as text. The server also lists sessions of a
machine that is gone."""


class BusyError(PerpsError):
    """Another run holds the lock."""


@contextmanager
def run_lock(database: Database, lock: tuple[int, int] = LOCK, wait_s: float = 0) -> Iterator[PgConnection]:
    """Hold one of the database's locks, on a new connection that is closed afterwards.

    Args:
        database: the database to lock.
        lock: `LOCK` for runs that load, `BUILD_LOCK` for dbt commands that write.
        wait_s: how long to wait for the lock, in seconds; there is no queue.

    Raises:
        BusyError: another run held the lock for all that time.
        DatabaseError: the connection fails or is lost, or a pooler shares the database's sessions.
    """
    opened = database.connect()
    try:
        expect_own_session(database, opened)
        _take(opened, lock, wait_s)
        try:
            yield opened
        finally:
            _release(opened, lock)
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise DatabaseError(
            f"lost the connection to database {database.dbname}: {' '.join(str(error).split())}; {AGAIN}"
        ) from error
    finally:
        opened.close()


def _take(opened: PgConnection, lock: tuple[int, int], wait_s: float) -> None:
    """Take a lock by trying every `LOOK_EVERY_S`, because a call that waits in libpq would block signals."""
    kind, give_up, warned = "load" if lock == LOCK else "build", time.monotonic() + wait_s, False
    with opened.cursor() as cursor:
        while not _is_free(cursor, lock):
            left, holder = give_up - time.monotonic(), _holder(cursor, lock)[1]
            if left <= 0:
                raise BusyError(
                    f"another {kind} is using database {opened.info.dbname}{holder}; wait for it with "
                    "--wait SECONDS, or stop it, then run the same command again"
                )
            if not warned:
                log.warning("waiting up to %.0f s for another %s%s", wait_s, kind, holder)
                warned = True
            time.sleep(min(LOOK_EVERY_S, left))


def _is_free(cursor: PgCursor, lock: tuple[int, int]) -> bool:
    """Take a lock if no session holds it; return whether it was taken."""
    return bool(one_row(cursor, "select pg_try_advisory_lock(%s, %s)", lock)[0])


def _holder(cursor: PgCursor, lock: tuple[int, int]) -> tuple[bool, str]:
    """Return whether this session holds a lock, and which session does, as text."""
    cursor.execute(HOLDER, lock)
    return cursor.fetchone() or (False, "")


def _release(opened: PgConnection, lock: tuple[int, int]) -> None:
    """Release a lock at once: the server notices a closed connection only some time later.

    A lost connection has already lost its lock.
    """
    with suppress(psycopg2.Error), opened.cursor() as cursor:
        cursor.execute("select pg_advisory_unlock(%s, %s)", lock)


def expect_lock(opened: PgConnection, lock: tuple[int, int] = LOCK) -> None:
    """Make sure that a run still holds its lock, by a query.

    Raises:
        psycopg2.Error: the connection is lost.
        DatabaseError: this is not the session that took the lock.
    """
    with opened.cursor() as cursor:
        if not _holder(cursor, lock)[0]:
            raise DatabaseError(POOLED.format(dbname=opened.info.dbname))


def expect_own_session(database: Database, opened: PgConnection) -> None:
    """Make sure that no pooler gives a connection a new session for each transaction.

    Such a pooler reports a process id that is not the session's, and gives an idle session to the next
    client. A direct connection, or a pool in session mode, keeps its session.

    Raises:
        DatabaseError: the session is shared.
    """
    own = _backend(opened)
    if own == opened.info.backend_pid:
        return
    second = database.connect(autocommit=False)
    try:
        if _backend(second) == own or _backend(opened) != own:
            raise DatabaseError(POOLED.format(dbname=database.dbname))
    finally:
        second.close()


def _backend(opened: PgConnection) -> int:
    with opened.cursor() as cursor:
        return int(one_row(cursor, "select pg_backend_pid()")[0])
