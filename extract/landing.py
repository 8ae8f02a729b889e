"""The raw tables in TimescaleDB: the run lock, what they need beside dlt's columns, what arrived."""

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
READER = "perps_reader"
LOCK, BUILD_LOCK = (0x7065_7270, 1), (0x7065_7270, 2)  # "perp": advisory locks of loads and of builds
REFUSED = "PERP1"
"""SQLSTATE of a load that must not become complete any more."""

PREPARED = """
select
    to_regclass('deribit_raw.candles') is not null,
    exists (
        select from timescaledb_information.hypertables
        where hypertable_schema = 'deribit_raw' and hypertable_name = 'candles'
    ),
    to_regclass('deribit_raw.fetches') is not null,
    to_regclass('deribit_raw.fetches_load') is not null,
    exists (
        select from pg_trigger
        where tgrelid = 'deribit_raw._dlt_loads'::regclass and tgname = 'loads_in_order'
    )
"""
CANDLES = """
alter table deribit_raw.candles
    alter column instrument type text, alter column resolution type text, alter column _dlt_load_id type text;
select create_hypertable(
    'deribit_raw.candles'::regclass, by_range('timestamp', interval '30 days'),
    create_default_indexes => false
);
create index candles_load on deribit_raw.candles using brin (_dlt_load_id, "timestamp")
    with (pages_per_range = 16);
"""
"""A brin index tells loads apart for next to nothing, because rows arrive load by load within a chunk, and
times nearly as well."""

FETCHES = "create index fetches_load on deribit_raw.fetches ((_dlt_load_id::numeric));"
LOADS = """
create index if not exists loads_order on deribit_raw._dlt_loads ((load_id::numeric));
create index if not exists loads_unfinished on deribit_raw._dlt_loads (load_id) where status <> 0;
create or replace function deribit_raw.complete_in_order() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1885696624, 3);  -- of the table, two would wait for each other
    if (select max(load_id::numeric) from deribit_raw._dlt_loads where status = 0) > new.load_id::numeric then
        raise exception 'a newer load than % is complete', new.load_id using errcode = 'PERP1';
    end if;
    delete from deribit_raw._dlt_loads where load_id = new.load_id and status <> 0;
    if not found then
        raise exception 'load % is not announced, or was given up', new.load_id using errcode = 'PERP1';
    end if;
    return new;
end $$;
create trigger loads_in_order before insert on deribit_raw._dlt_loads
    for each row when (new.status = 0) execute function deribit_raw.complete_in_order();
"""
"""A load is entered with status 1 before its first row lands (`announce`), and with 0 by dlt when it is
complete: what is unfinished is a short list, whatever the number of loads, and no guess. What has read all
loads up to the newest complete one never misses an older one that completes later; and a session of a killed
run that commits late completes nothing that a later run has swept."""


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
    """Make what the raw tables need beside dlt's columns, as far as it is missing; tell whether all is made.

    `candles` becomes a hypertable with its index, before its first row; there is no such table as long as
    every answer was empty. `fetches` gets the index by which dbt reads it, and `_dlt_loads` the trigger that
    makes the order of loads a fact.
    """
    with opened.cursor() as cursor:
        cursor.execute(PREPARED)
        candles, is_hypertable, fetches, is_indexed, is_ordered = cursor.fetchone()
        wanted = (
            (candles and not is_hypertable, CANDLES),
            (fetches and not is_indexed, FETCHES),
            (not is_ordered, LOADS),
        )
        missing = "".join(statements for lacks, statements in wanted if lacks)
        if missing:
            cursor.execute(missing)  # one string, hence one transaction: a kill leaves no half of it
            _let_reader_read(cursor)
    return bool(candles and fetches)


def _let_reader_read(cursor: PgCursor) -> None:
    """Let the read-only role see the raw tables where an administrator has made one."""
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


def candles_in_load(opened: PgConnection, load_id: str, within: Interval) -> int:
    """Return how many raw candles a load has in the database.

    Args:
        opened: a connection to the database.
        load_id: which load.
        within: bucket opens [start, end) of all its windows, UTC ms, so that only their chunks are read.
    """
    with opened.cursor() as cursor:
        if not exists(cursor, "candles"):
            return 0
        cursor.execute(
            sql.SQL(
                "select count(*) from {}.candles where _dlt_load_id = %s"
                ' and "timestamp" between to_timestamp(%s / 1000.0) and to_timestamp(%s / 1000.0)'
            ).format(sql.Identifier(DATASET)),
            [load_id, *within],
        )
        return int(cursor.fetchone()[0])


def announce(opened: PgConnection, load_ids: Sequence[str]) -> None:
    """Enter loads as unfinished, before their first row lands."""
    with opened.cursor() as cursor:
        cursor.execute(
            "insert into deribit_raw._dlt_loads (load_id, status, inserted_at)"
            " select load_id, 1, now() from unnest(%s) as load_id",
            [list(load_ids)],
        )


def void_load(opened: PgConnection, load_ids: Sequence[str]) -> None:
    """Take back that loads are complete: nobody sees their rows any more, and the next run deletes them."""
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
        if not exists(cursor, "_dlt_loads"):
            return
        cursor.execute("select max(load_id::numeric) from deribit_raw._dlt_loads where status = 0")
        newest = cursor.fetchone()[0]
    if newest is not None and float(newest) > now_s:
        raise PerpsError(
            f"expected a clock after the last load at {format_time(int(newest * 1000))}, "
            f"got {format_time(int(now_s * 1000))}; set this machine's clock, or wait for that time if it "
            "was wrong then, and run the same command again"
        )


def exists(cursor: PgCursor, table: str) -> bool:
    """Tell whether there is a raw table of that name."""
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
