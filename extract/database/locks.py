"""One load at a time, and one build: advisory locks of the database, which end with their session."""

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
    "expected a session of its own in database {dbname}, got one that a pooler shares between clients "
    "(PgBouncer in transaction mode, for example), where a second load would run beside this one; "
    "name the server itself in PGHOST and PGPORT, or a pool in session mode"
)

HOLDER = """
select
    pid = pg_backend_pid(),
    format(
        ' since %%s (session %%s%%s)',
        to_char(backend_start, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), pid, ' from ' || host(client_addr)
    )
from pg_locks
join pg_stat_activity using (pid)
where locktype = 'advisory' and granted
    and classid::bigint = %s and objid::bigint = %s
    and pg_locks.database = (select oid from pg_database where datname = current_database())
"""
"""Whether it is this session, and which one in words: of a machine that is gone, nobody knows but the
server."""


class BusyError(PerpsError):
    """Another run holds the lock."""


@contextmanager
def run_lock(database: Database, lock: tuple[int, int] = LOCK, wait_s: float = 0) -> Iterator[PgConnection]:
    """Hold one of the database's locks, on a connection of its own that ends with it.

    Args:
        database: whose lock.
        lock: `LOCK` for runs that load, `BUILD_LOCK` for dbt commands that write.
        wait_s: how long to wait for it, in seconds; who waits longest has no claim to be next.

    Raises:
        BusyError: another run holds it, all that time.
        DatabaseError: the database cannot be reached, a pooler shares its sessions, or the connection is lost
            meanwhile.
    """
    opened = database.connect()
    try:
        expect_own_session(database, opened)
        _take(opened, lock, wait_s)
        try:
            yield opened
        finally:
            _let_go(opened, lock)
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise DatabaseError(
            f"expected an answer from database {database.dbname}, got: {' '.join(str(error).split())}; "
            f"{AGAIN}"
        ) from error
    finally:
        opened.close()


def _take(opened: PgConnection, lock: tuple[int, int], wait_s: float) -> None:
    """Take a lock. It is asked for again and again: a call that waits in libpq hears no signal."""
    kind, give_up, told = "load" if lock == LOCK else "build", time.monotonic() + wait_s, False
    with opened.cursor() as cursor:
        while not _is_free(cursor, lock):
            left, holder = give_up - time.monotonic(), _holder(cursor, lock)[1]
            if left <= 0:
                raise BusyError(
                    f"expected to be the only {kind} on database {opened.info.dbname}, found another at "
                    f"work{holder}; wait for it, as --wait SECONDS does, or stop it, then run the same "
                    "command again"
                )
            if not told:
                log.warning("waiting up to %.0f s for another %s at work%s", wait_s, kind, holder)
                told = True
            time.sleep(min(LOOK_EVERY_S, left))


def _is_free(cursor: PgCursor, lock: tuple[int, int]) -> bool:
    """Take a lock if nobody has it."""
    return bool(one_row(cursor, "select pg_try_advisory_lock(%s, %s)", lock)[0])


def _holder(cursor: PgCursor, lock: tuple[int, int]) -> tuple[bool, str]:
    """Return whether this session holds a lock, and which one does, in words."""
    cursor.execute(HOLDER, lock)
    return cursor.fetchone() or (False, "")


def _let_go(opened: PgConnection, lock: tuple[int, int]) -> None:
    """Give a lock back at once: the server notices a closed connection only some time later.

    A lost connection has lost its lock.
    """
    with suppress(psycopg2.Error), opened.cursor() as cursor:
        cursor.execute("select pg_advisory_unlock(%s, %s)", lock)


def expect_lock(opened: PgConnection, lock: tuple[int, int] = LOCK) -> None:
    """Make sure that a run still holds its lock: it is looked up, not believed.

    Raises:
        psycopg2.Error: the connection is lost.
        DatabaseError: the session is another one than that which took the lock.
    """
    with opened.cursor() as cursor:
        if not _holder(cursor, lock)[0]:
            raise DatabaseError(POOLED.format(dbname=opened.info.dbname))


def expect_own_session(database: Database, opened: PgConnection) -> None:
    """Make sure that no pooler gives a connection another session for each transaction.

    Such a one tells a process id that is not the session's, and gives a session that is idle to the next
    client that asks; a direct connection, or a pool in session mode, keeps it.

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
