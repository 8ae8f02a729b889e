"""What the raw tables do not keep: rows of loads that never became complete, and bookkeeping of long ago."""

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
from extract.database.raw_tables import DATASET, exists
from extract.errors import PerpsError

log = logging.getLogger(__name__)

TABLES = ("_dlt_pipeline_state", "candles", "fetches", "instruments")

FETCHES_KEPT = 3 * 86_400
"""Seconds, as load ids are, for which full answers stay. dbt has the same number: where a model is further
behind, it takes from the candles themselves what they touch."""

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

LIST_LOADS = (
    "insert into deribit_raw._dlt_loads (load_id, status, inserted_at) select id, 1, now() from"
    " (select _dlt_load_id as id from deribit_raw.candles"
    " union select _dlt_load_id from deribit_raw.fetches) as loads where id::numeric > {newest};"
    " update deribit_raw._dlt_loads set status = 0 where load_id::numeric <= {complete}"
)

PRUNE_FETCHES = """
delete from deribit_raw.fetches
where _dlt_load_id::numeric < (select max(load_id::numeric) from deribit_raw._dlt_loads where status = 0) - %s
    and rows * case resolution when '1D' then interval '1 day' else resolution::int * interval '1 minute' end
        = window_end - window_start
"""
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
    """Delete the rows of loads that are listed as unfinished, which a killed run left; return how many.

    Args:
        opened: an autocommit connection that holds the run lock.

    Raises:
        PerpsError: `_dlt_loads` lacks loads that others know; nothing is deleted.
    """
    with opened.cursor() as cursor:
        _expect_listed(cursor)
        if not exists(cursor, "_dlt_loads"):
            return 0
        cursor.execute("begin")
        try:
            # first of all: a session that is still about to complete such a load waits, and then is refused
            cursor.execute("delete from deribit_raw._dlt_loads where status <> 0 returning load_id")
            removed = _delete(cursor, [load_id for (load_id,) in cursor.fetchall()])
            cursor.execute("commit")
        except BaseException:
            with suppress(psycopg2.Error):
                cursor.execute("rollback")
            raise
    if removed:
        log.info("removed %d rows that a killed run had not finished loading", removed)
    return removed


def _expect_listed(cursor: PgCursor) -> None:
    """Make sure that nobody knows of a load after the newest that `_dlt_loads` lists, complete or not.

    Without that list dlt would begin anew, and beside what is there.
    """
    newest = _newest(cursor, "_dlt_loads", "load_id")
    table, read_to = _furthest_watermark(cursor)
    answered = _newest(cursor, "fetches", "_dlt_load_id")
    if max(read_to, answered) <= newest:
        return
    known = f"{table} has read up to {read_to}" if read_to > newest else f"deribit_raw.fetches has {answered}"
    # of the very last one nobody can tell whether it was complete: listed as unfinished it is asked again
    complete = max(read_to, _newest(cursor, "fetches", "_dlt_load_id", below=answered))
    listing = LIST_LOADS.format(complete=complete, newest=newest)
    raise PerpsError(
        f"expected deribit_raw._dlt_loads to list every load, got {newest or 'none'} as the newest while "
        f"{known}; nothing is deleted: restore that table from a backup, or run: {listing}; "
        "or drop schema deribit_raw cascade and load again"
    )


def _newest(cursor: PgCursor, table: str, column: str, below: Decimal | None = None) -> Decimal:
    """Return the number of the newest load in a raw table, of those below another; 0 without any."""
    if not exists(cursor, table):
        return Decimal(0)
    number = sql.SQL("{}::numeric").format(sql.Identifier(column))
    newest = sql.SQL("select coalesce(max({}), 0) from {} where {} < coalesce(%s, 'Infinity'::numeric)")
    query = newest.format(number, sql.Identifier(DATASET, table), number)
    return Decimal(one_row(cursor, query, [below])[0])


def _furthest_watermark(cursor: PgCursor) -> tuple[str, Decimal]:
    """Return up to which load any model of any dbt target has read, and the table that says so."""
    cursor.execute(WATERMARKS)
    marks = [("", Decimal(0))]
    for schema, table in cursor.fetchall():
        named = sql.Identifier(schema, table)
        query = sql.SQL("select coalesce(max(read_to), 0) from {}").format(named)
        marks.append((f"{schema}.{table}", one_row(cursor, query)[0]))
    return max(marks, key=lambda mark: mark[1])


def _delete(cursor: PgCursor, load_ids: Sequence[str]) -> int:
    """Delete the rows of loads.

    Candles are looked for first: literal times open their chunks alone, and a delete that finds nothing would
    decompress old ones.
    """
    removed = 0
    for table in TABLES if load_ids else ():
        if not exists(cursor, table):
            continue
        of_loads = sql.SQL("from deribit_raw.{} where _dlt_load_id = any(%s)").format(sql.Identifier(table))
        bounds: tuple[object, ...] = ()
        if table == "candles":
            query = sql.SQL('select min("timestamp"), max("timestamp") ') + of_loads
            bounds = one_row(cursor, query, [load_ids])
            if bounds[0] is None:
                continue
        within = sql.SQL(' and "timestamp" between %s and %s' if bounds else "")
        cursor.execute(sql.SQL("delete ") + of_loads + within, [load_ids, *bounds])
        removed += cursor.rowcount
    return removed


def prune(opened: PgConnection) -> None:
    """Delete bookkeeping that nobody needs any more, so that a run a minute leaves none that grows.

    A full answer says no more than its candles do, and of dlt's states the newest counts. No candle depends
    on it, so a failure is logged and no more.
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
