"""The raw tables in TimescaleDB: hypertable, index, the run lock, what a killed run left, what arrived."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as PgCursor

from extract.errors import PerpsError
from extract.server.connection import Connection, DatabaseError
from extract.times import format_time
from extract.windows import Interval

log = logging.getLogger(__name__)

DATASET = "deribit_raw"
TABLES = ("_dlt_pipeline_state", "candles", "fetches", "instruments")
"""The state comes first: whatever interrupts a sweep, a cursor never outlives its candles."""

CHUNK_INTERVAL = "30 days"
INDEX = "candles_load"
LOCK, BUILD_LOCK = (0x7065_7270, 1), (0x7065_7270, 2)  # "perp": advisory locks of loads and of builds
READER = "perps_reader"


class BusyError(PerpsError):
    """Another run holds the lock."""


@contextmanager
def run_lock(database: Connection, lock: tuple[int, int] = LOCK) -> Iterator[PgConnection]:
    """Hold one of the database's locks, on a connection of its own that ends with it.

    Args:
        database: whose lock.
        lock: `LOCK` for runs that load, `BUILD_LOCK` for dbt commands that write.

    Raises:
        BusyError: another run holds it.
        DatabaseError: the database cannot be reached, or its connection is lost meanwhile.
    """
    opened = database.connect()
    try:
        with opened.cursor() as cursor:
            cursor.execute("select pg_try_advisory_lock(%s, %s)", lock)
            if not cursor.fetchone()[0]:
                raise BusyError(
                    f"expected to be the only {'load' if lock == LOCK else 'build'} on database "
                    f"{database.dbname}, found another at work{_holder(cursor, lock)}; wait for it, or stop "
                    "it, then run the same command again"
                )
        try:
            yield opened
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise DatabaseError(
                f"expected an answer from database {database.dbname}, got: {' '.join(str(error).split())}; "
                "what was loaded before is safe, run the same command again"
            ) from error
        finally:
            _let_go(opened, lock)
    finally:
        opened.close()


def _holder(cursor: PgCursor, lock: tuple[int, int]) -> str:
    """Say which session holds a lock: of a machine that is gone, nobody knows but the server."""
    cursor.execute(
        "select format(' since %%s (session %%s%%s)',"
        """ to_char(backend_start, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), pid, ' from ' || host(client_addr))"""
        " from pg_locks join pg_stat_activity using (pid)"
        " where locktype = 'advisory' and granted and classid::bigint = %s and objid = %s"
        " and pg_locks.database = (select oid from pg_database where datname = current_database())",
        lock,
    )
    found = cursor.fetchone()
    return found[0] if found else ""


def _let_go(opened: PgConnection, lock: tuple[int, int]) -> None:
    """Give a lock back at once: the server notices a closed connection only some time later.

    A lost connection has lost its lock.
    """
    with suppress(psycopg2.Error), opened.cursor() as cursor:
        cursor.execute("select pg_advisory_unlock(%s, %s)", lock)


def expect_lock(opened: PgConnection) -> None:
    """Make sure that a run still holds its lock: the server gives it to others when the connection is lost.

    Raises:
        psycopg2.Error: the connection is lost.
    """
    with opened.cursor() as cursor:
        cursor.execute("select 1")


def prepare(opened: PgConnection) -> bool:
    """Make `candles` a hypertable with its index, and tell whether it is one. It has no row yet.

    Once done, nothing happens. There is no such table as long as every answer was empty. A brin index tells
    loads apart for next to nothing, because rows arrive load by load within a chunk, and times nearly as
    well. An index of an earlier version, which knew loads alone, is replaced.
    """
    with opened.cursor() as cursor:
        if not _exists(cursor, "candles"):
            return False
        cursor.execute(
            "select 1 from timescaledb_information.hypertables"
            " where hypertable_schema = %s and hypertable_name = 'candles'",
            [DATASET],
        )
        if cursor.fetchone():
            cursor.execute(
                "select indnatts from pg_index where indexrelid = to_regclass(%s)", [f"{DATASET}.{INDEX}"]
            )
            if cursor.fetchone() != (1,):
                return True
            log.info("making the index of the raw candles anew, once: it is to know times too")
            before = sql.SQL("drop index {}.{}").format(*map(sql.Identifier, (DATASET, INDEX)))
        else:
            before = sql.SQL(
                "select create_hypertable({}::regclass, by_range('timestamp', {}::interval),"
                " create_default_indexes => false)"
            ).format(sql.Literal(f"{DATASET}.candles"), sql.Literal(CHUNK_INTERVAL))
        # one statement string, hence one transaction: a kill leaves no hypertable without its index
        cursor.execute(
            sql.SQL(
                '{}; create index {} on {}.candles using brin (_dlt_load_id, "timestamp")'
                " with (pages_per_range = 16)"
            ).format(before, sql.Identifier(INDEX), sql.Identifier(DATASET))
        )
    _let_reader_read(opened)
    return True


def _let_reader_read(opened: PgConnection) -> None:
    """Let the read-only role see the raw tables where an administrator has made one."""
    with opened.cursor() as cursor:
        cursor.execute("select 1 from pg_roles where rolname = %s", [READER])
        if cursor.fetchone():
            schema, reader = sql.Identifier(DATASET), sql.Identifier(READER)
            cursor.execute(sql.SQL("grant usage on schema {} to {}").format(schema, reader))
            cursor.execute(sql.SQL("grant select on all tables in schema {} to {}").format(schema, reader))


def summarize(opened: PgConnection) -> None:
    """Bring the index of the raw candles up to date.

    Unsummarized pages are read whole until autovacuum comes along. Only speed depends on it, so a
    failure is logged and no more.
    """
    try:
        with opened.cursor() as cursor:
            cursor.execute(
                "select sum(brin_summarize_new_values(indexes.indexrelid))"
                " from pg_index as indexes"
                " join pg_inherits as chunks on chunks.inhrelid = indexes.indrelid"
                " join pg_class as kind on kind.oid = indexes.indexrelid"
                " join pg_am as method on method.oid = kind.relam and method.amname = 'brin'"
                " where chunks.inhparent = to_regclass(%s)",
                [f"{DATASET}.candles"],
            )
    except psycopg2.Error:
        log.warning("could not summarize the index of the raw candles", exc_info=True)


def sweep(opened: PgConnection) -> int:
    """Delete what killed loads left in the raw tables; return how many rows.

    While nobody loads, whatever is newer than the newest load in `_dlt_loads` was never finished: dlt enters
    a load there last. The working folder of the killed run, which a container takes along, is not needed.

    Args:
        opened: an autocommit connection that holds the run lock.
    """
    removed = 0
    with opened.cursor() as cursor:
        if not _exists(cursor, "_dlt_loads"):
            return 0
        cursor.execute(
            sql.SQL("select coalesce(max(load_id), '') from {}._dlt_loads").format(sql.Identifier(DATASET))
        )
        newest = cursor.fetchone()[0]
        for table in TABLES:
            if _exists(cursor, table):
                removed += _delete_after(cursor, table, newest)
    if removed:
        log.info("removed %d rows that a killed run had not finished loading", removed)
    return removed


def _delete_after(cursor: PgCursor, table: str, newest: str) -> int:
    """Delete rows of loads after the newest one; return how many.

    What there is to delete is read first: a delete that finds nothing would decompress old chunks.
    """
    # the index serves the first condition; the second makes no load depend on how text is sorted
    unfinished = sql.SQL(
        "from {dataset}.{table} where _dlt_load_id > %s"
        " and _dlt_load_id not in (select load_id from {dataset}._dlt_loads)"
    ).format(dataset=sql.Identifier(DATASET), table=sql.Identifier(table))
    bounds: tuple[object, ...] = ()
    if table == "candles":
        cursor.execute(sql.SQL('select min("timestamp"), max("timestamp") ') + unfinished, [newest])
        bounds = cursor.fetchone()
        if bounds[0] is None:
            return 0
    within = sql.SQL(' and "timestamp" between %s and %s' if bounds else "")
    cursor.execute(sql.SQL("delete ") + unfinished + within, [newest, *bounds])
    return int(cursor.rowcount)


def candles_in_load(opened: PgConnection, load_id: str, within: Interval) -> int:
    """Return how many raw candles a load has in the database.

    Args:
        opened: a connection to the database.
        load_id: which load.
        within: bucket opens [start, end) of all its windows, UTC ms, so that only their chunks are read.
    """
    with opened.cursor() as cursor:
        if not _exists(cursor, "candles"):
            return 0
        cursor.execute(
            sql.SQL(
                "select count(*) from {}.candles where _dlt_load_id = %s"
                ' and "timestamp" between to_timestamp(%s / 1000.0) and to_timestamp(%s / 1000.0)'
            ).format(sql.Identifier(DATASET)),
            [load_id, *within],
        )
        return int(cursor.fetchone()[0])


def void_load(opened: PgConnection, load_ids: Sequence[str]) -> None:
    """Take back that loads are complete: neither dbt nor the next run's cursors see them any more."""
    with opened.cursor() as cursor:
        cursor.execute(
            sql.SQL("update {}._dlt_loads set status = 1 where load_id = any(%s)").format(
                sql.Identifier(DATASET)
            ),
            [list(load_ids)],
        )


def check_clock(opened: PgConnection, now_s: float) -> None:
    """Refuse to load with a clock behind the last load: load ids are times, and their order decides who wins.

    Args:
        opened: a connection to the database.
        now_s: this machine's clock, unix seconds.

    Raises:
        PerpsError: the last load is from the future.
    """
    with opened.cursor() as cursor:
        if not _exists(cursor, "_dlt_loads"):
            return
        cursor.execute(
            sql.SQL("select max(load_id::numeric) from {}._dlt_loads").format(sql.Identifier(DATASET))
        )
        newest = cursor.fetchone()[0]
    if newest is not None and float(newest) > now_s:
        raise PerpsError(
            f"expected a clock after the last load at {format_time(int(newest * 1000))}, "
            f"got {format_time(int(now_s * 1000))}; set this machine's clock, or wait for that time if it "
            "was wrong then, and run the same command again"
        )


def _exists(cursor: PgCursor, table: str) -> bool:
    cursor.execute("select to_regclass(%s)", [f"{DATASET}.{table}"])
    return cursor.fetchone()[0] is not None


def database_key(opened: PgConnection) -> str:
    """Return what tells this database from any other, also from one recreated under its name."""
    with opened.cursor() as cursor:
        cursor.execute("select oid::text, datname from pg_database where datname = current_database()")
        oid, name = cursor.fetchone()
        try:
            cursor.execute("select system_identifier::text from pg_control_system()")
            return f"{cursor.fetchone()[0]}-{oid}"
        except psycopg2.errors.InsufficientPrivilege:
            return f"{opened.info.host}-{opened.info.port}-{name}-{oid}"
