"""The raw tables in TimescaleDB: their indexes and triggers, the order of loads, and what a load holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
"""SQLSTATE of a load that must no longer become complete."""


class RawTable(NamedTuple):
    """A raw table of series.

    Attributes:
        columns: those other than instrument, timestamp and load id; all but resolution are doubles.
        chunk: length of its chunks, as an interval.
        bucket: length of the bucket of a row, as an SQL expression on `deribit_raw.fetches`.
    """

    columns: tuple[str, ...]
    chunk: str
    bucket: str


SERIES = {
    "candles": RawTable(
        ("resolution", "open", "high", "low", "close", "volume", "cost"),
        "30 days",
        "case resolution when '1D' then interval '1 day' else resolution::int * interval '1 minute' end",
    ),
    "funding": RawTable(
        ("interest_1h", "interest_8h", "index_price", "prev_index_price"), "84 days", "interval '1 hour'"
    ),
    "settlements": RawTable(
        ("position", "mark_price", "index_price", "profit_loss", "session_profit_loss"),
        "5 years",
        "interval '1 day'",
    ),
}

PREPARED = """
select
    (
        select count(*) from timescaledb_information.hypertables
        where hypertable_schema = 'deribit_raw' and hypertable_name = any(%s)
    ),
    to_regclass('deribit_raw.fetches') is not null,
    to_regclass('deribit_raw.fetches_load') is not null,
    exists (
        select from pg_trigger
        where tgrelid = 'deribit_raw._dlt_loads'::regclass and tgname = 'loads_in_order'
    )
"""
TABLE = """
create table if not exists deribit_raw.{table} ({columns});
alter table deribit_raw.{table} {texts};
select create_hypertable(
    'deribit_raw.{table}'::regclass, by_range('timestamp', interval '{chunk}'),
    create_default_indexes => false, if_not_exists => true
);
create index if not exists {table}_load on deribit_raw.{table} using brin (_dlt_load_id, "timestamp")
    with (pages_per_range = 16);
"""
"""The rows of a chunk arrive load by load, so a BRIN index finds loads, and times almost as well, at very
little cost."""

FETCHES = "create index fetches_load on deribit_raw.fetches ((_dlt_load_id::numeric));"
LOADS = """
create index if not exists loads_order on deribit_raw._dlt_loads ((load_id::numeric));
create index if not exists loads_unfinished on deribit_raw._dlt_loads (load_id) where status <> 0;
create or replace function deribit_raw.complete_in_order() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(1885696624, 3);  -- with a lock on the table, two loads would deadlock
    if (select max(load_id::numeric) from deribit_raw._dlt_loads where status = 0) > new.load_id::numeric then
        raise exception 'a newer load than % is complete', new.load_id using errcode = 'PERP1';
    end if;
    delete from deribit_raw._dlt_loads where load_id = new.load_id and status <> 0;
    if not found then
        raise exception 'load % was not announced, or was given up', new.load_id using errcode = 'PERP1';
    end if;
    return new;
end $$;
create trigger loads_in_order before insert on deribit_raw._dlt_loads
    for each row when (new.status = 0) execute function deribit_raw.complete_in_order();
"""
"""`announce` enters a load with status 1 before its first row lands, and dlt enters it with status 0 when it
is complete, so that the unfinished loads are always known. The trigger keeps the order: a model that has read
up to the newest complete load never misses an older load that completes later, and a session of a killed run
that commits late cannot complete a load that a later run has deleted."""


def prepare(opened: PgConnection) -> bool:
    """Create what the raw tables need in addition to dlt's columns; return whether it is complete.

    The raw tables of all endpoints become hypertables with their index before they have a row. They are
    created even if only one endpoint is loaded, because dbt's models read all of them. `fetches` gets the
    index by which dbt reads it, and `_dlt_loads` the trigger that keeps loads in order.
    """
    with opened.cursor() as cursor:
        hypertables, fetches, is_indexed, is_ordered = one_row(cursor, PREPARED, [list(SERIES)])
        wanted = (
            (hypertables < len(SERIES), "".join(map(series_table, SERIES))),
            (fetches and not is_indexed, FETCHES),
            (not is_ordered, LOADS),
        )
        missing = "".join(statements for lacks, statements in wanted if lacks)
        if missing:
            cursor.execute(missing)  # one string is one transaction: a kill leaves all or nothing
            _let_reader_read(cursor)
    return bool(fetches)


def series_table(name: str) -> str:
    """Return the SQL that creates a raw table as a hypertable, or converts the table that dlt created."""
    raw = SERIES[name]
    texts = ["instrument", *(["resolution"] if "resolution" in raw.columns else []), "_dlt_load_id"]
    columns = [f"{column} text not null" for column in texts[:-1]] + ['"timestamp" timestamptz not null']
    columns += [f"{column} double precision" for column in raw.columns if column not in texts]
    columns += ["_dlt_load_id text not null"]
    return TABLE.format(
        table=name,
        columns=", ".join(columns),
        texts=", ".join(f"alter column {column} type text" for column in texts),
        chunk=raw.chunk,
    )


def _let_reader_read(cursor: PgCursor) -> None:
    """Let the read-only role read the raw tables, if there is such a role."""
    cursor.execute("select 1 from pg_roles where rolname = %s", [READER])
    if cursor.fetchone():
        schema, reader = sql.Identifier(DATASET), sql.Identifier(READER)
        cursor.execute(sql.SQL("grant usage on schema {} to {}").format(schema, reader))
        cursor.execute(sql.SQL("grant select on all tables in schema {} to {}").format(schema, reader))


def summarize(opened: PgConnection) -> None:
    """Bring the indexes of the raw tables up to date.

    Until autovacuum runs, PostgreSQL reads unsummarized pages in full. Only speed depends on this, so a
    failure is only logged.
    """
    try:
        with opened.cursor() as cursor:
            cursor.execute(
                "select sum(brin_summarize_new_values(indexes.indexrelid))"
                " from pg_index as indexes"
                " join pg_inherits as chunks on chunks.inhrelid = indexes.indrelid"
                " join pg_class as kind on kind.oid = indexes.indexrelid"
                " join pg_am as method on method.oid = kind.relam and method.amname = 'brin'"
                " where chunks.inhparent = any(%s::regclass[])",
                [[f"{DATASET}.{table}" for table in SERIES]],
            )
    except psycopg2.Error:
        log.warning("could not summarize the indexes of the raw tables", exc_info=True)


def rows_in_load(opened: PgConnection, load_id: str, spans: Mapping[str, TimeRange]) -> int:
    """Return how many raw rows the database has of a load.

    Args:
        opened: a connection to the database.
        load_id: the load.
        spans: by table, the time range [start, end) of all its windows, UTC ms; only its chunks are read.
    """
    counted = 0
    with opened.cursor() as cursor:
        for table, span in spans.items():
            query = sql.SQL(
                "select count(*) from {} where _dlt_load_id = %s"
                ' and "timestamp" between to_timestamp(%s / 1000.0) and to_timestamp(%s / 1000.0)'
            ).format(sql.Identifier(DATASET, table))
            counted += int(one_row(cursor, query, [load_id, *span])[0])
    return counted


def announce(opened: PgConnection, load_ids: Sequence[str]) -> None:
    """Enter loads as unfinished, before their first row lands."""
    with opened.cursor() as cursor:
        cursor.execute(
            "insert into deribit_raw._dlt_loads (load_id, status, inserted_at)"
            " select load_id, 1, now() from unnest(%s) as load_id",
            [list(load_ids)],
        )


def void_load(opened: PgConnection, load_ids: Sequence[str]) -> None:
    """Mark complete loads as unfinished: readers no longer see their rows, and the next run deletes them."""
    with opened.cursor() as cursor:
        cursor.execute(
            sql.SQL("update {}._dlt_loads set status = 1 where load_id = any(%s)").format(
                sql.Identifier(DATASET)
            ),
            [list(load_ids)],
        )


def check_clock(opened: PgConnection, now_s: float) -> None:
    """Refuse to load if the clock is behind the last load: load ids are times, and the newest load wins.

    Args:
        opened: a connection to the database.
        now_s: this machine's clock, unix seconds.

    Raises:
        PerpsError: the last load is in the future.
    """
    with opened.cursor() as cursor:
        if not exists(cursor, "_dlt_loads"):
            return
        (newest,) = one_row(
            cursor, "select max(load_id::numeric) from deribit_raw._dlt_loads where status = 0"
        )
    if newest is not None and float(newest) > now_s:
        raise PerpsError(
            f"this machine's clock, {format_time(int(now_s * 1000))}, is behind the last load at "
            f"{format_time(int(newest * 1000))}; set the clock, or if it was wrong at that load, wait for "
            "that time, then run the same command again"
        )


def exists(cursor: PgCursor, table: str) -> bool:
    """Return whether there is a raw table of that name."""
    return one_row(cursor, "select to_regclass(%s)", [f"{DATASET}.{table}"])[0] is not None


def database_key(opened: PgConnection) -> str:
    """Return a key that differs for every database, even for one recreated under the same name."""
    with opened.cursor() as cursor:
        oid, name = one_row(
            cursor, "select oid::text, datname from pg_database where datname = current_database()"
        )
        try:
            (system,) = one_row(cursor, "select system_identifier::text from pg_control_system()")
            return f"{system}-{oid}"
        except psycopg2.errors.InsufficientPrivilege:
            return f"{opened.info.host}-{opened.info.port}-{name}-{oid}"
