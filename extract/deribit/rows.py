"""Turns replies of any endpoint into checked Arrow tables of times and doubles; pure functions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.deribit.errors import BadReplyError

log = logging.getLogger(__name__)

TIME = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True)
class Rows:
    """A checked reply.

    Attributes:
        table: the column timestamp (UTC ms), and the endpoint's values as the exact doubles of the JSON; null
            where the JSON has no number. Ascending, without repeated times.
        off_grid: number of candles that are not at a bucket open of the resolution.
    """

    table: pa.Table
    off_grid: int = 0

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.table.num_rows)

    @property
    def first_ms(self) -> int | None:
        """Time of the oldest row, UTC ms; None without rows."""
        return int(self.table["timestamp"][0].value) if self.count else None


def schema_of(values: Sequence[str]) -> pa.Schema:
    """Return the columns of a reply's table: a time and doubles of these names."""
    return pa.schema(
        [
            pa.field("timestamp", TIME, nullable=False),
            *(pa.field(name, pa.float64()) for name in values),
        ]
    )


def times_ms(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the times of a table's rows, UTC ms; of candles they are bucket opens."""
    times: npt.NDArray[np.int64] = table["timestamp"].cast(pa.int64()).to_numpy()
    return times


def table_of(times: npt.NDArray[np.int64], values: dict[str, list[Any]]) -> pa.Table:
    """Return times and values as a table; a value that is not a number becomes null, and is logged."""
    columns = [pa.array(times).cast(TIME), *(_doubles(name, column) for name, column in values.items())]
    return pa.Table.from_arrays(columns, schema=schema_of(list(values)))


def read_times(found: list[Any], what: str) -> npt.NDArray[np.int64]:
    """Return times in ms.

    Raises:
        BadReplyError: one is not a whole number of at most 64 bits.
    """
    if set(map(type, found)) - {int}:
        raise BadReplyError(f"expected whole milliseconds in {what}, got something else")
    try:
        return np.array(found, np.int64)
    except OverflowError:
        raise BadReplyError(f"expected {what} in milliseconds, got numbers beyond 64 bits") from None


def read_rows(result: Any, values: Sequence[str], start_ms: int, end_ms: int) -> pa.Table:
    """Return a list of row objects as a table.

    Single unusable values are kept as null, and a time off the grid as it is: dbt rejects and lists them.

    Args:
        result: the decoded JSON, ascending.
        values: the fields to take; others are ignored, because Deribit adds and drops some.
        start_ms: the oldest requested time, UTC ms.
        end_ms: the newest requested time, UTC ms, inclusive.

    Raises:
        BadReplyError: not a list of objects, or times that are unordered, repeated or outside the range.
    """
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
        raise BadReplyError(f"expected a list of rows, got {type(result).__name__}")
    times = read_times([row.get("timestamp") for row in result], "timestamp")
    if not np.all(times[:-1] < times[1:]):
        raise BadReplyError("expected ascending unique timestamps, got unordered or repeated ones")
    if times.size and (times[0] < start_ms or times[-1] > end_ms):
        raise BadReplyError(f"expected timestamps from {start_ms} to {end_ms}, got {times[0]} to {times[-1]}")
    return table_of(times, {name: [row.get(name) for row in result] for name in values})


def _doubles(name: str, values: list[Any]) -> pa.Array:
    if set(map(type, values)) <= {float, int, type(None)}:
        with suppress(pa.ArrowInvalid):  # an int that a double cannot hold exactly
            return pa.array(values, pa.float64())
    numbers = [_number(value) for value in values]
    if lost := numbers.count(None) - values.count(None):
        log.warning("%d values of %s are not numbers; kept as null", lost, name)
    return pa.array(numbers, pa.float64())


def _number(value: Any) -> float | None:
    if type(value) not in (int, float):  # bool is an int to Python
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
