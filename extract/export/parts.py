"""Reads a selection part by part over ADBC, from one snapshot: exact numbers, UTC, sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import pyarrow as pa

from extract.core.advice import advice
from extract.core.messages import one_line
from extract.database.database import PATIENCE, Database
from extract.errors import PerpsError
from extract.export.selection import Part, Selection

Found = TypeVar("Found")


@contextmanager
def snapshot(database: Database) -> Iterator[adbc.Cursor]:
    """Yield a cursor that sees the database as it is now, even while a build changes it."""
    with adbc.connect(database.url(PATIENCE)) as opened, opened.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read, read only")
        cursor.execute("set local jit = off")  # compiling takes longer than it saves
        yield cursor


@contextmanager
def ahead(read: Callable[[Part], Found], parts: Iterable[Part]) -> Iterator[Iterator[Found]]:
    """Yield what `read` returns for each part; the next part is read while the caller writes this one.

    A second thread reads, because the main thread could not handle a signal while it waits for the database.
    """
    with ThreadPoolExecutor(1) as thread:
        yield _one_ahead(thread.submit(read, part) for part in parts)


def _one_ahead(reading: Iterator[Future[Found]]) -> Iterator[Found]:
    before = next(reading, None)
    while before:
        after = next(reading, None)
        yield before.result()
        before = after


def read_part(cursor: adbc.Cursor, selection: Selection, part: Part) -> pa.Table:
    """Return the rows of a part.

    The server sends decimals as text: faster than `numeric`, which the driver turns into text anyway, and as
    fast as scaled integers, which cannot hold every volume. The instrument is added here, not sent.
    """
    schema = selection.table.schema
    columns = [
        f"{field.name}::text" if pa.types.is_decimal(field.type) else f'"{field.name}"'
        for field in schema
        if field.name != "instrument"
    ]
    cursor.execute(selection.query(part, columns))
    found = cursor.fetch_arrow_table()
    names = pa.repeat(pa.scalar(part.instrument), len(found))
    found = found.add_column(schema.names.index("instrument"), "instrument", names).rename_columns(
        schema.names
    )
    return found.cast(schema)


@contextmanager
def one_line_errors(kind: str) -> Iterator[None]:
    """Turn an error of the database into one line.

    Args:
        kind: the endpoint whose table is read.

    Raises:
        PerpsError: reading failed.
    """
    try:
        yield
    except (psycopg2.Error, adbc.Error) as error:
        got = one_line(str(error))
        raise PerpsError(f"could not read {kind} from the database: {got}; {advice(error)}") from None
