"""Compares candles with Deribit's: those of the table to eight decimals, those of raw in every digit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from extract.check.differences import CHANGED, GONE, MISSING, UNUSABLE, Difference, Values
from extract.core.resolution import Resolution
from extract.deribit.rows import times_ms

COLUMNS = ("open", "high", "low", "close", "volume")
EIGHT = Decimal("0.00000001")
TOO_LARGE = 1e10  # numeric(18,8) has ten digits before the point

Stored = tuple[Decimal, ...]
Replied = tuple[float | None, ...]


def read_candles(table: pa.Table) -> dict[int, Replied]:
    """Return a table's candles by bucket open, UTC ms: open, high, low, close, volume."""
    opens = times_ms(table).tolist()
    values = zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)
    return dict(zip(opens, values, strict=True))


def compare(
    instrument: str,
    resolution: Resolution,
    stored: Mapping[int, Stored],
    replied: Mapping[int, Replied],
    raw: Mapping[int, Replied],
) -> list[Difference]:
    """Return where Deribit differs from the table, to eight decimals, or from raw, in any digit.

    Args:
        instrument: the instrument.
        resolution: of the candles.
        stored: the table's candles by bucket open, UTC ms.
        replied: Deribit's candles of the same time range.
        raw: the same candles in the raw table, without those that were dropped from it.
    """
    found: list[Difference] = []
    for at in sorted(stored.keys() | replied.keys()):
        if at not in replied:
            found.append(Difference(instrument, at, GONE))
            continue
        on_grid = not resolution.count_off_grid(np.array([at]))
        if finding := _finding(stored.get(at), replied[at], raw.get(at), on_grid=on_grid):
            found.append(Difference(instrument, at, *finding))
    return found


class _Finding(NamedTuple):
    """What differs in a candle: see `Difference`."""

    kind: str
    columns: tuple[str, ...] = ()
    stored: Values = ()
    deribit: Values = ()


def _finding(
    stored: Stored | None, replied: Replied, raw: Replied | None, *, on_grid: bool
) -> _Finding | None:
    unusable = [n for n, value in enumerate(replied) if not _usable(value)]
    if unusable or not on_grid:
        return _at(UNUSABLE, unusable, stored, replied)
    if stored is None:
        return _Finding(MISSING)
    exact = tuple(to_stored(value) for value in replied if value is not None)
    changed = [n for n, value in enumerate(exact) if value != stored[n]]
    if changed:
        return _at(CHANGED, changed, stored, exact)
    digits = [n for n, value in enumerate(raw or ()) if value is not None and value != replied[n]]
    return _at(CHANGED, digits, raw, replied) if digits else None


def _at(kind: str, positions: Sequence[int], stored: Values | None, replied: Values) -> _Finding:
    return _Finding(
        kind,
        tuple(COLUMNS[n] for n in positions),
        tuple(stored[n] if stored else None for n in positions),
        tuple(replied[n] for n in positions),
    )


def _usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and abs(value) < TOO_LARGE


def to_stored(value: float) -> Decimal:
    """Return a double as numeric(18,8) stores it: its shortest spelling, rounded half away from zero."""
    return Decimal(repr(value)).quantize(EIGHT, ROUND_HALF_UP)
