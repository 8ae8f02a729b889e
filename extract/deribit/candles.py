"""Turns a reply of `get_tradingview_chart_data` into a checked Arrow table; pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from extract.core.resolution import Resolution
from extract.deribit.errors import BadReplyError
from extract.deribit.rows import Rows, read_times, schema_of, table_of

VALUES = ("open", "high", "low", "close", "volume", "cost")
"""open, high, low, close and cost in the quote coin, volume in the base coin."""
SCHEMA = schema_of(VALUES)


def parse_chart(result: Any, resolution: Resolution, start_ms: int, end_ms: int) -> Rows:
    """Check the `result` of a chart reply and turn it into a table.

    Single unusable values (null, NaN, text, a tick off the bucket grid) are kept: dbt rejects and lists them.
    A reply with a wrong structure is refused as a whole, because none of its rows can be trusted.

    Args:
        result: the decoded JSON.
        resolution: the requested resolution.
        start_ms: oldest requested bucket open, UTC ms.
        end_ms: newest requested bucket open, UTC ms, inclusive.

    Raises:
        BadReplyError: not a chart, arrays of unequal length, or ticks that are unordered, repeated or outside
            the requested range.
    """
    columns = _columns(result)
    opens = read_times(columns.pop("ticks"), "ticks")
    if not np.all(opens[:-1] < opens[1:]):
        raise BadReplyError("expected ascending unique ticks, got unordered or repeated ones")
    # a start inside a bucket also returns that bucket (FACTS: seen), which is harmless
    if opens.size and (opens[0] < start_ms - resolution.step_ms or opens[-1] > end_ms + resolution.step_ms):
        raise BadReplyError(f"expected ticks from {start_ms} to {end_ms}, got {opens[0]} to {opens[-1]}")
    return Rows(table_of(opens, columns), resolution.count_off_grid(opens))


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
