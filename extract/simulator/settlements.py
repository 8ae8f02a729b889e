"""The daily settlements of the simulated perpetuals: a pure function of the market.

They imitate the FACTS about get_last_settlements_by_instrument (docs/deribit.md).
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from extract.simulator.candles import HOUR_MS, Floats, Ints
from extract.simulator.lifetime import Lifetime
from extract.simulator.tables import Table

DAY_MS = 24 * HOUR_MS
LATE_MS = 1_598_515_200_000  # 2020-08-27: settled after the outage, not at 08:00 (FACTS: presumed)

_AT_MS = 8 * HOUR_MS  # 08:00 UTC, and some milliseconds: 20 to 119, at times up to 759 (FACTS: seen)
_LATE_BY_MS = 91 * 60_000
_DISTANCES = (2, 8, 32, 128)  # days between the knots of the open interest
_OPEN_LOTS = 2_000  # times the lots of a typical minute: BTC comes out at some 400 million USD


def settlement_stamps(life: Lifetime) -> Ints:
    """Return the stamps of all settlements so far (UTC ms), ascending: one a day since the listing."""
    first = (life.listing.created_ms - _AT_MS) // DAY_MS + 1
    day = np.arange(first, life.now_ms // DAY_MS + 1, dtype=np.int64)
    stamps = day * DAY_MS + _AT_MS
    kept = np.ones(len(day), dtype=bool)
    for start, end in life.gone:
        kept &= (stamps < start) | (stamps >= end)
    slow = np.where(life.hashed("slow", day) < 0.03, 640, 0)
    stamps = stamps + 20 + (life.hashed("settled", day) * 100).astype(np.int64) + slow
    stamps = np.where(day == LATE_MS // DAY_MS, stamps + _LATE_BY_MS, stamps)
    return stamps[kept & (stamps <= life.now_ms)]


def settlements(life: Lifetime, start_ms: int, end_ms: int, most: int | None = None) -> Table:
    """Return the rows with `start_ms <= timestamp <= end_ms`, ascending; the newest `most`.

    `position` is the open interest (FACTS: inferred), in USD for inverse ones and presumably in the base coin
    for linear ones (FACTS: unverified); prices are in the quote coin, profits in the coin of settlement.
    """
    stamps = settlement_stamps(life)
    first, last = int(np.searchsorted(stamps, start_ms)), int(np.searchsorted(stamps, end_ms, side="right"))
    stamps = stamps[first if most is None else max(first, last - most) : max(first, last)]
    day = stamps // DAY_MS
    index = _index(life, stamps, day)
    session = (life.hashed("session", day) * 2 - 0.5) * 8e5
    return {
        "position": _open_interest(life, day),
        "timestamp": stamps,
        "type": np.full(len(stamps), "settlement", dtype=object),
        "index_price": index,
        "instrument_name": np.full(len(stamps), life.listing.name, dtype=object),
        "mark_price": life.decimals(index * (1 + (life.hashed("mark", day) - 0.5) * 8e-4)),
        "profit_loss": (life.hashed("profit", day) - 0.5) ** 3 * 100,
        "session_profit_loss": session,
    }


def _index(life: Lifetime, stamps: Ints, day: Ints) -> Floats:
    """Return the index price; on one day in a hundred it lies 1 to 3 % beside the candle."""
    beside = life.hashed("beside", day) * 100
    share = np.where(beside < 1, np.where(beside < 0.5, -1, 1) * (0.01 + beside * 0.02), 0.0)
    return life.decimals(life.index(stamps) * (1 + share))


def _open_interest(life: Lifetime, day: Ints) -> Ints | Floats:
    """Return whole contracts in the unit of the contract size, never negative."""
    lots: Floats = np.rint(life.listing.lots * _OPEN_LOTS * np.exp(life.walk("open", day, _DISTANCES)))
    size = Decimal(repr(life.listing.contract_size))
    if size == int(size):
        return lots.astype(np.int64) * int(size)
    scale: int = 10 ** -int(size.as_tuple().exponent)
    return lots * float(size * scale) / scale
