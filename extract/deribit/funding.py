"""Turns a reply of `get_funding_rate_history` into a checked Arrow table; pure functions."""

from __future__ import annotations

from typing import Any

from extract.deribit.errors import BadReplyError
from extract.deribit.rows import Rows, read_rows

VALUES = ("interest_1h", "interest_8h", "index_price", "prev_index_price")
"""The rates realised over the last hour and over the last eight hours, as fractions of the position's value;
the index price, in the quote coin, of this row and of the row before. The time of a row is the end of its
hour (FACTS: inferred)."""


def parse_funding(result: Any, start_ms: int, end_ms: int) -> Rows:
    """Check the `result` of a funding reply and turn it into a table.

    Args:
        result: the decoded JSON.
        start_ms: the oldest requested time, UTC ms.
        end_ms: the newest requested time, UTC ms, inclusive.

    Raises:
        BadReplyError: see `rows.read_rows`.
    """
    return Rows(read_rows(result, VALUES, start_ms, end_ms))


def parse_rate(result: Any) -> float:
    """Check the `result` of `get_funding_rate_value`, the rate realised over a time range.

    Raises:
        BadReplyError: it is not a number.
    """
    if type(result) not in (int, float):
        raise BadReplyError(f"expected a rate, got {str(result)[:40]!r}")
    return float(result)
