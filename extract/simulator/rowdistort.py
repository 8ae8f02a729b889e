"""Rows of funding and settlements with wrong content: what `distort` is for charts."""

from __future__ import annotations

from collections.abc import Sequence

from extract.simulator import faults as f
from extract.simulator.reply import spelled
from extract.simulator.tables import Row


def distort_rows(rows: list[Row], due: Sequence[f.ReplyFault], *, newest_first: bool = False) -> list[Row]:
    """Apply the content faults among `due` to the rows of a reply: first their number, then their values."""
    for fault in due:
        if isinstance(fault, f.Empty):
            rows = []
        elif isinstance(fault, f.DropFirst):
            rows = rows[: -fault.rows] if newest_first else rows[fault.rows :]
    for fault in due:
        if isinstance(fault, f.RepeatedRow) and -len(rows) <= fault.row < len(rows):
            at = fault.row % len(rows)
            rows = [*rows[: at + 1], dict(rows[at]), *rows[at + 1 :]]
    for fault in due:
        # a column of the other method would be a new key, and is none
        if isinstance(fault, f.BadRow) and -len(rows) <= fault.row < len(rows):
            row = rows[fault.row]
            row.update({fault.column: spelled(fault.value)} if fault.column in row else {})
    return rows


def most_rows(limit: int, due: Sequence[f.ReplyFault]) -> int:
    """Return how many rows a reply has at most: `limit`, or what a fault says."""
    return min([limit, *(fault.rows for fault in due if isinstance(fault, f.MaxRows))])
