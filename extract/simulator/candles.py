"""Candles as columns, and the buckets they fall in. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
RESOLUTIONS: dict[str, int] = {
    name: MINUTE_MS * minutes
    for name, minutes in {
        **{str(n): n for n in (1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720)},
        "1D": 1440,
    }.items()
}
"""Resolution name -> bucket width in ms (Deribit's documented list)."""

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume", "cost")
COLUMNS = ("ticks", *VALUES)

_EXACT_LIMIT = 9e7  # above it 8 decimals no longer fit in a double


@dataclass(frozen=True)
class Candles:
    """Equal-length columns, ticks ascending.

    `ticks` are bucket opens in ms since the epoch (UTC); prices are in the quote coin, `volume` in the base
    coin, `cost` in the quote coin.
    """

    ticks: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    cost: Floats

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.ticks)

    def take(self, which: slice | NDArray[np.bool_] | Ints) -> Candles:
        """Return the candles a slice, mask or index array selects."""
        return Candles(*(getattr(self, field.name)[which] for field in fields(self)))

    def between(self, start_ms: int, end_ms: int) -> Candles:
        """Return the candles with `start_ms <= tick <= end_ms`: both ends inclusive, as Deribit has it."""
        first, last = np.searchsorted(self.ticks, (start_ms, end_ms + 1))
        return self.take(slice(int(first), int(last)))


def empty() -> Candles:
    """Return no candles."""
    return Candles(np.empty(0, np.int64), *(np.empty(0) for _ in VALUES))


def concat(parts: Sequence[Candles]) -> Candles:
    """Join parts that follow one another in time."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return empty()
    return Candles(*(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS))


def bucket_offset(resolution: str) -> int:
    """Return how many ms after midnight UTC the buckets are anchored.

    720 and 1D buckets open at 08:00 UTC, the settlement hour (FACTS: seen); all others divide midnight.
    """
    return 8 * HOUR_MS if RESOLUTIONS[resolution] >= 720 * MINUTE_MS else 0


def bucket_open(time_ms: int, resolution: str) -> int:
    """Return the open (ms) of the bucket that contains an instant."""
    width, offset = RESOLUTIONS[resolution], bucket_offset(resolution)
    return (time_ms - offset) // width * width + offset


def aggregate(candles: Candles, resolution: str) -> Candles:
    """Aggregate finer candles to a resolution: first open, highest high, lowest low, last close, sums.

    Fills count like any other candle. Sums after 2020 are rounded to 8 decimals, older ones keep their float
    noise, as in recorded replies (FACTS: seen).
    """
    if not len(candles):
        return candles
    width, offset = RESOLUTIONS[resolution], bucket_offset(resolution)
    buckets = (candles.ticks - offset) // width * width + offset
    first = np.flatnonzero(np.concatenate(([True], buckets[1:] != buckets[:-1])))
    last = np.concatenate((first[1:], [len(buckets)])) - 1
    ticks = buckets[first]
    return Candles(
        ticks=ticks,
        open=candles.open[first],
        high=np.maximum.reduceat(candles.high, first),
        low=np.minimum.reduceat(candles.low, first),
        close=candles.close[last],
        volume=_tidy(ticks, np.add.reduceat(candles.volume, first)),
        cost=_tidy(ticks, np.add.reduceat(candles.cost, first)),
    )


NOISE_ENDS_MS = 1_609_459_200_000  # 2021-01-01: volumes carry float noise before, 8 decimals after


def _tidy(ticks: Ints, sums: Floats) -> Floats:
    rounds = (ticks >= NOISE_ENDS_MS) & (np.abs(sums) < _EXACT_LIMIT)
    return np.where(rounds, np.round(sums, 8), sums)


def forming(candles: Candles, width_ms: int, now_ms: int) -> Candles:
    """Return the candles as they stand at `now_ms`: later ones absent, the last one partial while it forms.

    A forming candle opens as a fill of the previous close and then trades open, low, high, close; its volume
    and cost grow with the share of the bucket that has passed, so it changes until the bucket closes.
    """
    known = candles.take(slice(0, int(np.searchsorted(candles.ticks, now_ms, side="right"))))
    if not len(known) or known.ticks[-1] + width_ms <= now_ms:
        return known
    share = (now_ms - int(known.ticks[-1])) / width_ms
    full = {name: float(getattr(known, name)[-1]) for name in VALUES}
    before = float(known.close[-2]) if len(known) > 1 else full["open"]
    partial = _partial(full, before, share)
    columns = {name: getattr(known, name).copy() for name in VALUES}
    for name, value in partial.items():
        columns[name][-1] = value
    return Candles(ticks=known.ticks, **columns)


def _partial(full: dict[str, float], before: float, share: float) -> dict[str, float]:
    if share < 0.1 or full["volume"] == 0:
        return {
            **dict.fromkeys(PRICES, before if full["volume"] else full["open"]),
            "volume": 0.0,
            "cost": 0.0,
        }
    low = full["low"] if share >= 0.4 else full["open"]
    high = full["high"] if share >= 0.7 else full["open"]
    close = full["close"] if share >= 0.95 else high if share >= 0.7 else low
    volume, cost = round(full["volume"] * share, 8), round(full["cost"] * share, 8)
    return {"open": full["open"], "high": high, "low": low, "close": close, "volume": volume, "cost": cost}
