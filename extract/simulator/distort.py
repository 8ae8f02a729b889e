"""Makes chart results wrong: one function per fault, which changes the result that it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from extract.simulator import faults as f
from extract.simulator.candles import COLUMNS
from extract.simulator.reply import Chart, spelled


def distort(chart: Chart, due: Iterable[f.ReplyFault]) -> Chart:
    """Apply the content faults among `due` to a result: rows first, then values, then whole columns."""
    order = list(_CHANGES)
    wrong = [fault for fault in due if type(fault) in _CHANGES]
    for fault in sorted(wrong, key=lambda fault: order.index(type(fault))):
        chart = _CHANGES[type(fault)](chart, fault)
    return chart


def _index(chart: Chart, row: int, least: int) -> int | None:
    """Return the row as an index of at least `least`; None when the result has no such row."""
    rows = len(chart["ticks"])
    index = row + rows if row < 0 else row
    return index if least <= index < rows else None


def _unequal(chart: Chart, fault: f.Unequal) -> Chart:
    chart[fault.column] = chart[fault.column][:-1]
    return chart


def _missing(chart: Chart, fault: f.Missing) -> Chart:
    chart.pop(fault.column, None)
    return chart


def _duplicate_tick(chart: Chart, fault: f.DuplicateTick) -> Chart:
    index = _index(chart, fault.row, 1)
    if index is not None:
        chart["ticks"][index] = chart["ticks"][index - 1]
    return chart


def _unordered(chart: Chart, fault: f.Unordered) -> Chart:
    index = _index(chart, fault.row, 1)
    if index is not None:
        for name in COLUMNS:
            column = chart[name]
            column[index - 1], column[index] = column[index], column[index - 1]
    return chart


def _off_grid(chart: Chart, fault: f.OffGrid) -> Chart:
    index = _index(chart, fault.row, 0)
    if index is not None:
        chart["ticks"][index] += fault.by_ms
    return chart


def _value(chart: Chart, fault: f.Value) -> Chart:
    index = _index(chart, fault.row, 0)
    if index is not None:
        chart[fault.column][index] = spelled(fault.value)
    return chart


def _empty(chart: Chart, _fault: f.Empty) -> Chart:
    return {name: "no_data" if name == "status" else [] for name in chart}


def _status(chart: Chart, fault: f.Status) -> Chart:
    return {**chart, "status": fault.status}


def _drop_first(chart: Chart, fault: f.DropFirst) -> Chart:
    return {name: value[fault.rows :] if isinstance(value, list) else value for name, value in chart.items()}


_CHANGES: dict[type[f.ReplyFault], Callable[[Chart, Any], Chart]] = {
    f.DropFirst: _drop_first,
    f.DuplicateTick: _duplicate_tick,
    f.Unordered: _unordered,
    f.OffGrid: _off_grid,
    f.Value: _value,
    f.Empty: _empty,
    f.Status: _status,
    f.Unequal: _unequal,
    f.Missing: _missing,
}
