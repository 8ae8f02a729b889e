"""The raw tables in TimescaleDB: what they need beside dlt's columns, and what arrived."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as PgCursor

from extract.core.ranges import TimeRange
from extract.core.times import format_time
from extract.database.database import one_row
from extract.errors import PerpsError

log = logging.getLogger(__name__)

DATASET = "deribit_raw"
READER = "perps_reader"
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


def prepare(opened: PgConnection) -> bool:
    """Make what the raw tables need beside dlt's columns, as far as it is missing; tell whether all is made.

    `candles` becomes a hypertable with its index, before its first row; there is no such table as long as
    every answer was empty. `fetches` gets the index by which dbt reads it, and `_dlt_loads` the trigger that
    makes the order of loads a fact.
    """
    with opened.cursor() as cursor:
        candles, is_hypertable, fetches, is_indexed, is_ordered = one_row(cursor, PREPARED)
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


def candles_in_load(opened: PgConnection, load_id: str, time_range: TimeRange) -> int:
    """Return how many raw candles a load has in the database.

    Args:
        opened: a connection to the database.
        load_id: which load.
        time_range: bucket opens [start, end) of all its windows, UTC ms, so that only their chunks are read.
    """
    with opened.cursor() as cursor:
        if not exists(cursor, "candles"):
            return 0
        found = one_row(
            cursor,
            sql.SQL(
                "select count(*) from {}.candles where _dlt_load_id = %s"
                ' and "timestamp" between to_timestamp(%s / 1000.0) and to_timestamp(%s / 1000.0)'
            ).format(sql.Identifier(DATASET)),
            [load_id, *time_range],
        )
        return int(found[0])


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
        (newest,) = one_row(
            cursor, "select max(load_id::numeric) from deribit_raw._dlt_loads where status = 0"
        )
    if newest is not None and float(newest) > now_s:
        raise PerpsError(
            f"expected a clock after the last load at {format_time(int(newest * 1000))}, "
            f"got {format_time(int(now_s * 1000))}; set this machine's clock, or wait for that time if it "
            "was wrong then, and run the same command again"
        )


def exists(cursor: PgCursor, table: str) -> bool:
    """Tell whether there is a raw table of that name."""
    return one_row(cursor, "select to_regclass(%s)", [f"{DATASET}.{table}"])[0] is not None


def database_key(opened: PgConnection) -> str:
    """Return what tells this database from any other, also from one recreated under its name."""
    with opened.cursor() as cursor:
        oid, name = one_row(
            cursor, "select oid::text, datname from pg_database where datname = current_database()"
        )
        try:
            (system,) = one_row(cursor, "select system_identifier::text from pg_control_system()")
            return f"{system}-{oid}"
        except psycopg2.errors.InsufficientPrivilege:
            return f"{opened.info.host}-{opened.info.port}-{name}-{oid}"
