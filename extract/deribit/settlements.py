"""Turns a page of `get_last_settlements_by_instrument` into a checked Arrow table; pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from extract.core.times import NEWEST_MS, OLDEST_MS
from extract.deribit.errors import BadReplyError
from extract.deribit.rows import Rows, read_rows

VALUES = ("position", "mark_price", "index_price", "profit_loss", "session_profit_loss")
"""position is the open interest (FACTS: inferred), in USD for inverse perpetuals; the prices are in the quote
coin. The documented field `funding` was absent in 2026 (FACTS: seen)."""

ENDS = (None, "", "none")
"""Tokens that mark the last page (FACTS: unknown which of them). An empty page is the last one, too."""


@dataclass(frozen=True)
class Page:
    """A page of settlements.

    Attributes:
        rows: its settlements, ascending.
        token: continuation token of the next older page; None on the last page.
    """

    rows: Rows
    token: str | None


def parse_page(result: Any) -> Page:
    """Check the `result` of a settlements reply, which is newest first, and turn it into a page.

    Args:
        result: the decoded JSON.

    Raises:
        BadReplyError: not a page, or times that do not descend.
    """
    found = result.get("settlements") if isinstance(result, dict) else None
    if not isinstance(found, list):
        raise BadReplyError("expected a page with settlements, got none")
    token = result.get("continuation")
    if not isinstance(token, str | None):
        raise BadReplyError(f"expected a text in continuation, got {str(token)[:40]!r}")
    table = read_rows(found[::-1], VALUES, OLDEST_MS, NEWEST_MS)
    return Page(Rows(table), token if found and token not in ENDS else None)
