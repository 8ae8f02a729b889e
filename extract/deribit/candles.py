"""From a chart reply to a checked Arrow table: `parse_chart`, pure."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.core.resolution import Resolution
from extract.deribit.errors import BadReplyError

log = logging.getLogger(__name__)

VALUES = ("open", "high", "low", "close", "volume", "cost")
SCHEMA = pa.schema(
    [
        pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
        *(pa.field(name, pa.float64()) for name in VALUES),
    ]
)


@dataclass(frozen=True)
class Chart:
    """A checked reply of `get_tradingview_chart_data`.

    Attributes:
        table: columns timestamp (bucket open, UTC ms), open, high, low, close (quote coin), volume (base
            coin), cost (quote coin), as doubles exactly as the JSON said; null where it held no number.
            Ascending, no bucket open twice.
        off_grid: how many candles are not at a bucket open of the resolution.
    """

    table: pa.Table
    off_grid: int = 0

    @property
    def rows(self) -> int:
        """Number of candles."""
        return int(self.table.num_rows)

    @property
    def first_ms(self) -> int | None:
        """Oldest tick in UTC ms, None when empty."""
        return int(self.table["timestamp"][0].value) if self.rows else None


def parse_chart(result: Any, resolution: Resolution, start_ms: int, end_ms: int) -> Chart:
    """Check the `result` of a chart reply and turn it into a table.

    Single odd values (null, NaN, text, a tick off the bucket grid) are kept for the database to reject and
    show. A reply whose structure is wrong is refused whole, because no row of it can be trusted.

    Args:
        result: the decoded JSON.
        resolution: what was asked.
        start_ms: oldest bucket open that was asked, UTC ms.
        end_ms: newest bucket open that was asked, UTC ms, inclusive.

    Raises:
        BadReplyError: not a chart, unequal arrays, ticks unordered, repeated or outside the asked range.
    """
    columns = _columns(result)
    opens = _opens(columns["ticks"])
    if not np.all(opens[:-1] < opens[1:]):
        raise BadReplyError("expected ascending unique ticks, got unordered or repeated ones")
    # An unaligned start also returns the bucket that contains it (FACTS: seen); one more bucket is harmless.
    if opens.size and (opens[0] < start_ms - resolution.step_ms or opens[-1] > end_ms + resolution.step_ms):
        raise BadReplyError(f"expected ticks from {start_ms} to {end_ms}, got {opens[0]} to {opens[-1]}")
    off_grid = resolution.count_off_grid(opens)
    arrays = [pa.array(opens).cast(SCHEMA.field("timestamp").type)]
    arrays += [_doubles(name, columns[name]) for name in VALUES]
    return Chart(pa.Table.from_arrays(arrays, schema=SCHEMA), off_grid)


def _columns(result: Any) -> dict[str, list[Any]]:
    """Return the seven columns of a reply, all of one length."""
    if not isinstance(result, dict) or result.get("status") not in ("ok", "no_data"):
        status = result.get("status") if isinstance(result, dict) else type(result).__name__
        raise BadReplyError(f"expected a chart with status ok or no_data, got {status!r}")
    columns: dict[str, Any] = {name: result.get(name) for name in ("ticks", *VALUES)}
    wrong = [name for name, values in columns.items() if not isinstance(values, list)]
    if wrong:
        raise BadReplyError(f"expected an array for {', '.join(wrong)}, got none")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise BadReplyError(f"expected arrays of equal length, got {lengths}")
    return columns


def _opens(ticks: list[Any]) -> npt.NDArray[np.int64]:
    if set(map(type, ticks)) - {int}:
        raise BadReplyError("expected whole milliseconds in ticks, got something else")
    try:
        return np.array(ticks, np.int64)
    except OverflowError:
        raise BadReplyError("expected ticks in milliseconds, got numbers beyond 64 bits") from None


def _doubles(name: str, values: list[Any]) -> pa.Array:
    if set(map(type, values)) <= {float, int, type(None)}:
        with suppress(pa.ArrowInvalid):  # an int beyond what a double holds exactly
            return pa.array(values, pa.float64())
    numbers = [_number(value) for value in values]
    if lost := numbers.count(None) - values.count(None):
        log.warning("%d values of %s are not numbers: kept as null", lost, name)
    return pa.array(numbers, pa.float64())


def _number(value: Any) -> float | None:
    if type(value) not in (int, float):  # bool is an int to Python
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def bucket_opens(candles: pa.Table) -> npt.NDArray[np.int64]:
    """Return when the buckets of candles in the columns of `SCHEMA` open, UTC ms."""
    opens: npt.NDArray[np.int64] = candles["timestamp"].cast(pa.int64()).to_numpy()
    return opens
