"""Compares rows of funding and settlements with Deribit's: every digit of every value."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pyarrow as pa

from extract.check.differences import CHANGED, GONE, MISSING, UNUSABLE, Difference, Values
from extract.deribit.rows import times_ms
from extract.load.endpoint import FUNDING, Endpoint

Row = dict[str, float | None]


def read_rows(table: pa.Table, endpoint: Endpoint) -> dict[int, Row]:
    """Return a table's rows by bucket open, UTC ms; if a bucket has two rows, the later one."""
    opens = [endpoint.resolution.floor(at) for at in times_ms(table).tolist()]
    rows = table.set_column(0, "timestamp", pa.array(times_ms(table).astype(float))).to_pylist()
    return dict(zip(opens, rows, strict=True))


def compare(
    instrument: str, endpoint: Endpoint, stored: Mapping[int, Row], replied: Mapping[int, Row]
) -> list[Difference]:
    """Return where Deribit differs from the table, in any digit.

    Args:
        instrument: the instrument.
        endpoint: funding or settlements.
        stored: the table's rows by bucket open, UTC ms, each with its own time.
        replied: Deribit's rows of the same time range.
    """
    found = []
    for at in sorted(stored.keys() | replied.keys()):
        mine, theirs = stored.get(at), replied.get(at)
        if theirs is None:
            found.append(Difference(instrument, at, GONE))
        elif unusable := _unusable(theirs, endpoint, at):
            found.append(_at(instrument, at, UNUSABLE, unusable, mine or {}, theirs))
        elif mine is None:
            found.append(Difference(instrument, at, MISSING))
        elif changed := [name for name in theirs if theirs[name] != mine[name]]:
            found.append(_at(instrument, at, CHANGED, changed, mine, theirs))
    return found


def _unusable(row: Row, endpoint: Endpoint, at_ms: int) -> list[str]:
    """Return the columns for which the table refuses a row, by the same rules as its dbt models."""
    wrong = [name for name in endpoint.needed if row[name] is None]
    wrong += [name for name, value in row.items() if value is not None and not math.isfinite(value)]
    wrong += [
        name for name, value in row.items() if name.endswith("price") and value is not None and value <= 0
    ]
    if (row.get("position") or 0) < 0:
        wrong.append("position")
    if abs(row.get("interest_1h") or 0) >= 1:
        wrong.append("interest_1h")
    if endpoint == FUNDING and row["timestamp"] != at_ms:
        wrong.append("timestamp")
    return list(dict.fromkeys(wrong))


def _at(instrument: str, at_ms: int, kind: str, columns: list[str], stored: Row, replied: Row) -> Difference:
    mine: Values = tuple(stored.get(name) for name in columns)
    return Difference(instrument, at_ms, kind, tuple(columns), mine, tuple(replied[name] for name in columns))
