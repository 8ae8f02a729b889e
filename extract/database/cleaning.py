"""Deletes from the raw tables the rows of unfinished loads, and old bookkeeping."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as PgCursor

from extract.database.database import one_row
from extract.database.raw_tables import DATASET, SERIES, exists
from extract.errors import PerpsError

log = logging.getLogger(__name__)

TABLES = ("_dlt_pipeline_state", "fetches", "instruments", *SERIES)

FETCHES_KEPT = 3 * 86_400
"""How long rows of `fetches` that lack no candle are kept, in seconds, the unit of load ids. dbt has the same
number: a model that is further behind finds the changed ranges in the raw candles themselves."""

STATES_KEPT = 10

WATERMARKS = """
select nspname, relname
from pg_class
join pg_namespace on pg_namespace.oid = relnamespace
join pg_attribute on attrelid = pg_class.oid
where relname = 'watermarks'
    and relkind = 'r'
    and attname = 'read_to'
    and atttypid = 'numeric'::regtype
    and has_schema_privilege(relnamespace, 'usage')
    and has_table_privilege(pg_class.oid, 'select')
"""

NAMED = "select _dlt_load_id as id from deribit_raw.{}"
LIST_LOADS = (
    "insert into deribit_raw._dlt_loads (load_id, status, inserted_at)"
    " select id, 1, now() from ({named}) as loads where id::numeric > {newest};"
    " update deribit_raw._dlt_loads set status = 0 where load_id::numeric <= {complete}"
)

OF_FETCHES = """
delete from deribit_raw.fetches
where _dlt_load_id::numeric < (select max(load_id::numeric) from deribit_raw._dlt_loads where status = 0) - %s
    and rows * case endpoint {buckets} end = window_end - window_start
"""
PRUNE_FETCHES = OF_FETCHES.format(
    buckets=" ".join(f"when '{name}' then {raw.bucket}" for name, raw in SERIES.items())
)
PRUNE_STATES = """
delete from deribit_raw._dlt_pipeline_state
where _dlt_load_id::numeric < (
    select min(id)
    from (
        select _dlt_load_id::numeric as id
        from deribit_raw._dlt_pipeline_state
        where _dlt_load_id in (select load_id from deribit_raw._dlt_loads where status = 0)
        order by id desc
        limit %s
    ) as kept
)
"""


def sweep(opened: PgConnection) -> int:
    """Delete the rows of unfinished loads, which a killed run left; return how many rows.

    Args:
        opened: an autocommit connection that holds the run lock.

    Raises:
        PerpsError: `_dlt_loads` lacks loads that other tables name; nothing is deleted.
    """
    with opened.cursor() as cursor:
        _expect_listed(cursor)
        if not exists(cursor, "_dlt_loads"):
            return 0
        cursor.execute("begin")
        try:
            # first, so that a session that is about to complete such a load waits and is then refused
            cursor.execute("delete from deribit_raw._dlt_loads where status <> 0 returning load_id")
            removed = _delete(cursor, [load_id for (load_id,) in cursor.fetchall()])
            cursor.execute("commit")
        except BaseException:
            with suppress(psycopg2.Error):
                cursor.execute("rollback")
            raise
    if removed:
        log.info("deleted %d rows of unfinished loads, which a killed run left", removed)
    return removed


def _expect_listed(cursor: PgCursor) -> None:
    """Make sure that no table names a load after the newest one in `_dlt_loads`, complete or not.

    Without that list, dlt would load everything again, on top of the existing rows.
    """
    newest = _newest(cursor, "_dlt_loads", "load_id")
    table, read_to = _furthest_watermark(cursor)
    answered = _newest(cursor, "fetches", "_dlt_load_id")
    if max(read_to, answered) <= newest:
        return
    known = f"{table} has read up to {read_to}" if read_to > newest else f"deribit_raw.fetches has {answered}"
    # it is unknown whether the very last load was complete: listed as unfinished, it is fetched again
    complete = max(read_to, _newest(cursor, "fetches", "_dlt_load_id", below=answered))
    named = " union ".join(NAMED.format(table) for table in (*SERIES, "fetches"))
    listing = LIST_LOADS.format(complete=complete, newest=newest, named=named)
    raise PerpsError(
        f"deribit_raw._dlt_loads lacks loads: its newest is {newest or 'none'}, but {known}; "
        f"nothing was deleted; restore that table from a backup, or run: {listing}; "
        "or drop schema deribit_raw cascade and load again"
    )


def _newest(cursor: PgCursor, table: str, column: str, below: Decimal | None = None) -> Decimal:
    """Return the id of the newest load in a raw table, below `below` if given; 0 if there is none."""
    if not exists(cursor, table):
        return Decimal(0)
    number = sql.SQL("{}::numeric").format(sql.Identifier(column))
    newest = sql.SQL("select coalesce(max({}), 0) from {} where {} < coalesce(%s, 'Infinity'::numeric)")
    query = newest.format(number, sql.Identifier(DATASET, table), number)
    return Decimal(one_row(cursor, query, [below])[0])


def _furthest_watermark(cursor: PgCursor) -> tuple[str, Decimal]:
    """Return the newest load that any model of any dbt target has read, and the model's table."""
    cursor.execute(WATERMARKS)
    marks = [("", Decimal(0))]
    for schema, table in cursor.fetchall():
        named = sql.Identifier(schema, table)
        query = sql.SQL("select coalesce(max(read_to), 0) from {}").format(named)
        marks.append((f"{schema}.{table}", one_row(cursor, query)[0]))
    return max(marks, key=lambda mark: mark[1])


def _delete(cursor: PgCursor, load_ids: Sequence[str]) -> int:
    """Delete the rows of loads.

    In a raw table of series, the time range of these rows is read first, so that the delete has literal times
    and opens only their chunks. Without them it would decompress old chunks.
    """
    removed = 0
    for table in TABLES if load_ids else ():
        if not exists(cursor, table):
            continue
        of_loads = sql.SQL("from deribit_raw.{} where _dlt_load_id = any(%s)").format(sql.Identifier(table))
        bounds: tuple[object, ...] = ()
        if table in SERIES:
            query = sql.SQL('select min("timestamp"), max("timestamp") ') + of_loads
            bounds = one_row(cursor, query, [load_ids])
            if bounds[0] is None:
                continue
        within = sql.SQL(' and "timestamp" between %s and %s' if bounds else "")
        cursor.execute(sql.SQL("delete ") + of_loads + within, [load_ids, *bounds])
        removed += cursor.rowcount
    return removed


def prune(opened: PgConnection) -> None:
    """Delete bookkeeping that is no longer needed, so that it does not grow with a run every minute.

    A fetch that lacks no candle is evidence only of candles that are in raw, and only the newest of dlt's
    states is read. No candle depends on these rows, so a failure is only logged.
    """
    try:
        with opened.cursor() as cursor:
            for table, statement, kept in (
                ("fetches", PRUNE_FETCHES, FETCHES_KEPT),
                ("_dlt_pipeline_state", PRUNE_STATES, STATES_KEPT),
            ):
                if exists(cursor, table):
                    cursor.execute(statement, [kept])
    except psycopg2.Error:
        log.warning("could not delete old bookkeeping; the next run tries again", exc_info=True)
