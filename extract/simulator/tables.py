"""Rows of funding and settlements as columns, and as the objects of a reply."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = dict[str, NDArray[Any]]
"""Columns of equal length, in the order of a row's keys; NaN stands for null."""

Row = dict[str, Any]
"""One object of a reply."""


def objects(table: Table) -> list[Row]:
    """Return the rows of a table."""
    columns = [_plain(values) for values in table.values()]
    return [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain(values: NDArray[Any]) -> list[Any]:
    plain: list[Any] = values.tolist()
    if values.dtype != np.float64:
        return plain
    for index in np.flatnonzero(np.isnan(values)).tolist():
        plain[index] = None
    return plain
