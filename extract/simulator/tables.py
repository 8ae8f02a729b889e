"""Rows of funding and settlements as columns, and as the objects of a reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.simulator.marketfaults import RowRevision

Table = dict[str, NDArray[Any]]
"""Columns of equal length, in the order of a row's keys; NaN stands for null."""

Row = dict[str, Any]
"""One object of a reply."""


def objects(table: Table) -> list[Row]:
    """Return the rows of a table."""
    columns = [_plain(values) for values in table.values()]
    return [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]


def revised(table: Table, revisions: Sequence[RowRevision]) -> Table:
    """Return a table with the values that revisions give to rows by their stamp; others stay."""
    changed = dict(table)
    for fault in revisions:
        at = np.flatnonzero(table["timestamp"] == fault.at)
        for name in [name for name in fault.values if name in table and len(at)]:
            changed[name] = changed[name].astype(np.float64)
            changed[name][at] = fault.values[name]
    return changed


def _plain(values: NDArray[Any]) -> list[Any]:
    plain: list[Any] = values.tolist()
    if values.dtype != np.float64:
        return plain
    for index in np.flatnonzero(np.isnan(values)).tolist():
        plain[index] = None
    return plain
