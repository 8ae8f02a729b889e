"""From the table to Arrow, pandas or polars, over ADBC: exact decimals, UTC, sorted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import pyarrow as pa

from extract.core.advice import advice
from extract.core.messages import one_line
from extract.core.times import Time, as_typed, parse_range
from extract.database.database import PATIENCE, Database
from extract.errors import PerpsError, UsageError
from extract.export.selection import Part, Selection, select
from extract.settings import environment_for, read_settings

if TYPE_CHECKING:  # both are extras
    import pandas as pd
    import polars as pl

Found = TypeVar("Found")

RETURN_TYPES = ("arrow", "pandas", "polars")


@overload
def read_candles(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    resolution: str = "1",
    *,
    return_type: Literal["arrow"] = "arrow",
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pa.Table: ...


@overload
def read_candles(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    resolution: str = "1",
    *,
    return_type: Literal["pandas"],
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pd.DataFrame: ...


@overload
def read_candles(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    resolution: str = "1",
    *,
    return_type: Literal["polars"],
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pl.DataFrame: ...


def read_candles(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    resolution: str = "1",
    *,
    return_type: str = "arrow",
    database: str | None = None,
    home: str | Path | None = None,
) -> Any:
    """Return candles of the table, sorted by instrument and time; an empty table if the range has none.

    The columns are those of the table: `timestamp`, when the candle opens (UTC, microseconds); `instrument`;
    `open`, `high`, `low`, `close` in the quote coin, USD for inverse perpetuals; `volume` in the base coin.
    Rollups also have `candles` and `complete`. Numbers are exact decimals with eight places.

    Args:
        instruments: a name, several, or `all`.
        start: inclusive; a date, a datetime, an ISO time or UTC ms. Without a time zone it is UTC. None: the
            first candle.
        end: exclusive, in the same forms. None: the last candle.
        resolution: `1`, or a rollup: `5m`, `15m`, `1h`, `4h`, `1d` (from 00:00 UTC) or `1d_settlement`.
        return_type: `arrow` for a pyarrow.Table. `pandas`, whose decimals are of Arrow's type, and `polars`
            need their packages: deribit-perps[pandas], deribit-perps[polars].
        database: `postgresql://user:password@host:port/name`. Default: as the libpq variables say, and
            without PGHOST the embedded server, which is started if it is not running.
        home: folder of the embedded server. Default: PERPS_HOME.

    Raises:
        UsageError: the table lacks the instrument or resolution, a time cannot be read, or the return type
            is unknown.
        PerpsError: the database cannot be reached or has no models yet, or a package is missing.
    """
    _expect_package(return_type)
    names = [instruments] if isinstance(instruments, str) else list(instruments)
    time_range = parse_range(as_typed(start), as_typed(end), ("start", "end"))
    place = read_settings(environment_for(database, home)).database()
    selection = select(place, names, time_range, resolution)
    with one_line_errors(), snapshot(place) as cursor:
        tables = [read_part(cursor, selection, part) for part in selection.parts()]
    table = pa.concat_tables([selection.schema.empty_table(), *tables])
    if return_type == "pandas":
        return table.to_pandas(types_mapper=_pandas_type)
    if return_type == "polars":
        import polars as pl  # noqa: PLC0415  # an extra

        return pl.from_arrow(table)
    return table


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

    A thread reads: the main thread could not handle a signal while it waits for a database that is silent.
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
    """Return the candles of a part.

    Numbers are sent as text: that is faster than numerics, which the driver would have to spell out, and as
    fast as scaled integers, which could not hold every volume. The instrument is not sent with each row.
    """
    schema = selection.schema
    columns = [
        f"{field.name}::text" if pa.types.is_decimal(field.type) else f'"{field.name}"'
        for field in schema
        if field.name != "instrument"
    ]
    cursor.execute(f"select {', '.join(columns)} from {selection.table} {part.where()}")  # noqa: S608  # literals
    found = cursor.fetch_arrow_table()
    names = pa.repeat(pa.scalar(part.instrument), len(found))
    found = found.add_column(1, "instrument", names).rename_columns(schema.names)
    return found.cast(schema)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error of the database into one line.

    Raises:
        PerpsError: reading failed.
    """
    try:
        yield
    except (psycopg2.Error, adbc.Error) as error:
        got = one_line(str(error))
        raise PerpsError(f"could not read candles from the database: {got}; {advice(error)}") from None


def _expect_package(return_type: str) -> None:
    """Make sure that this return type can be made.

    Raises:
        UsageError: there is no such return type.
        PerpsError: its package is missing.
    """
    if return_type not in RETURN_TYPES:
        raise UsageError(f"expected a return_type of {', '.join(RETURN_TYPES)}, got {return_type!r}")
    try:
        importlib.import_module("pyarrow" if return_type == "arrow" else return_type)
    except ModuleNotFoundError as error:
        raise PerpsError(
            f"return_type={return_type!r} needs the package {error.name}; "
            f"run: pip install 'deribit-perps[{return_type}]'"
        ) from None


def _pandas_type(of: pa.DataType) -> Any:
    """Return the pandas type for decimals, which would otherwise each be a Python object."""
    import pandas as pd  # noqa: PLC0415  # an extra

    return pd.ArrowDtype(of) if pa.types.is_decimal(of) else None
