"""Reads the tables into Arrow, pandas or polars: exact numbers, UTC, sorted."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa

from extract.core.times import Time, as_typed, parse_range
from extract.errors import PerpsError, UsageError
from extract.export.parts import one_line_errors, read_part, snapshot
from extract.export.selection import select
from extract.settings import environment_for, read_settings

if TYPE_CHECKING:  # both are extras
    import pandas as pd
    import polars as pl

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
        database: `postgresql://user:password@host:port/name`. Default: the database of the libpq variables;
            without PGHOST, the embedded server, which is started if it is not running.
        home: folder of the embedded server. Default: PERPS_HOME.

    Raises:
        UsageError: the table lacks the instrument or resolution, a time cannot be read, or the return type
            is unknown.
        PerpsError: the database cannot be reached or has no models yet, or a package is missing.
    """
    return _read("candles", instruments, (start, end), return_type, database, home, resolution)


@overload
def read_funding(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    *,
    return_type: Literal["arrow"] = "arrow",
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pa.Table: ...


@overload
def read_funding(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    *,
    return_type: Literal["pandas"],
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pd.DataFrame: ...


@overload
def read_funding(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    *,
    return_type: Literal["polars"],
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pl.DataFrame: ...


def read_funding(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    *,
    return_type: str = "arrow",
    database: str | None = None,
    home: str | Path | None = None,
) -> Any:
    """Return hourly funding, sorted by instrument and time; an empty table if the range has none.

    The columns are those of `perpetuals_funding`: `timestamp`, the end of the hour (UTC, microseconds);
    `instrument`; `interest_1h` and `interest_8h`, the rates of the hour and of the eight hours that end then
    (fractions of the position); `index_price` at the end of the hour, and `prev_index_price`, that of the row
    before, in the quote coin. Numbers are doubles; those that Deribit did not send are null, in pandas NaN.

    Args:
        instruments: a name, several, or `all`.
        start: inclusive, compared with `timestamp`; forms as in `read_candles`. None: the first row.
        end: exclusive. None: the last row.
        return_type: `arrow`, `pandas` or `polars`, as in `read_candles`.
        database: as in `read_candles`.
        home: as in `read_candles`.

    Raises:
        UsageError: the table lacks the instrument, a time cannot be read, or the return type is unknown.
        PerpsError: the database cannot be reached or has no models yet, or a package is missing.
    """
    return _read("funding", instruments, (start, end), return_type, database, home)


@overload
def read_settlements(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    *,
    return_type: Literal["arrow"] = "arrow",
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pa.Table: ...


@overload
def read_settlements(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    *,
    return_type: Literal["pandas"],
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pd.DataFrame: ...


@overload
def read_settlements(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    *,
    return_type: Literal["polars"],
    database: str | None = ...,
    home: str | Path | None = ...,
) -> pl.DataFrame: ...


def read_settlements(
    instruments: str | Iterable[str],
    start: Time | None = None,
    end: Time | None = None,
    *,
    return_type: str = "arrow",
    database: str | None = None,
    home: str | Path | None = None,
) -> Any:
    """Return daily settlements, sorted by instrument and time; an empty table if the range has none.

    The columns are those of `perpetuals_settlements`: `settled_at`, Deribit's time (UTC, microseconds);
    `settlement_day`, the date of the last 08:00 UTC before it; `instrument`; `open_interest`, in USD for
    inverse perpetuals; `mark_price` and `index_price` in the quote coin; `profit_loss` and
    `session_profit_loss` in the settlement coin. Numbers are doubles; those that Deribit did not send are
    null, in pandas NaN.

    Args:
        instruments: a name, several, or `all`.
        start: inclusive, compared with `settled_at`; forms as in `read_candles`. None: the first settlement.
        end: exclusive. None: the last settlement.
        return_type: `arrow`, `pandas` or `polars`, as in `read_candles`.
        database: as in `read_candles`.
        home: as in `read_candles`.

    Raises:
        UsageError: the table lacks the instrument, a time cannot be read, or the return type is unknown.
        PerpsError: the database cannot be reached or has no models yet, or a package is missing.
    """
    return _read("settlements", instruments, (start, end), return_type, database, home)


def _read(
    kind: str,
    instruments: str | Iterable[str],
    times: tuple[Time | None, Time | None],
    return_type: str,
    database: str | None,
    home: str | Path | None,
    resolution: str = "1",
) -> Any:
    """Return rows of the kind, one of `ENDPOINTS`, in the return type."""
    _expect_package(return_type)
    names = [instruments] if isinstance(instruments, str) else list(instruments)
    start, end = times
    time_range = parse_range(as_typed(start), as_typed(end), ("start", "end"))
    chosen = read_settings(environment_for(database, home)).database()
    selection = select(chosen, names, time_range, kind, resolution)
    with one_line_errors(kind), snapshot(chosen) as cursor:
        tables = [read_part(cursor, selection, part) for part in selection.parts()]
    table = pa.concat_tables([selection.table.schema.empty_table(), *tables])
    if return_type == "pandas":
        return table.to_pandas(types_mapper=_pandas_type)
    if return_type == "polars":
        import polars as pl  # noqa: PLC0415  # an extra

        return pl.from_arrow(table)
    return table


def _expect_package(return_type: str) -> None:
    """Make sure that a return type is known and its package installed.

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
    """Return the pandas type for decimals; without it, each decimal would be a Python object."""
    import pandas as pd  # noqa: PLC0415  # an extra

    return pd.ArrowDtype(of) if pa.types.is_decimal(of) else None
