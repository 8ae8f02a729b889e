"""Makes rows of funding and settlements wrong, as `distort` does with charts."""

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
        # a column that the rows of this method do not have is not added
        if isinstance(fault, f.BadRow) and -len(rows) <= fault.row < len(rows):
            row = rows[fault.row]
            row.update({fault.column: spelled(fault.value)} if fault.column in row else {})
    return rows


def most_rows(limit: int, due: Sequence[f.ReplyFault]) -> int:
    """Return the most rows of a reply: `limit`, or fewer if a fault sets a limit."""
    return min([limit, *(fault.rows for fault in due if isinstance(fault, f.MaxRows))])
