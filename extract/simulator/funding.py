"""The hourly funding of the simulated perpetuals: a pure function of the market.

It imitates the FACTS about get_funding_rate_history (docs/deribit.md).
"""

from __future__ import annotations

import numpy as np

from extract.simulator.candles import HOUR_MS, Floats, Ints
from extract.simulator.lifetime import Lifetime
from extract.simulator.tables import Table

FUNDING_ROWS = 744
"""Most rows in one reply (FACTS: seen)."""

FIRST_INVERSE_MS = 1_556_618_400_000  # 2019-04-30T10:00Z: inverse ones have none before (FACTS: reported)
HOLE_MS = (1_598_508_000_000, 1_598_511_600_000)  # 2020-08-27 06:00 and 07:00 (FACTS: reported)
COLUMNS = ("timestamp", "index_price", "interest_8h", "interest_1h", "prev_index_price")
"""The columns in the order of a recorded reply (FACTS: seen)."""

_DISTANCES = (3, 12, 48, 192, 768)  # hours between the knots of the premium
_STILL = 0.13  # a premium below it costs nothing: 18 % of the hours, in runs (FACTS: reported)
_TRAILING = 8


def funding_stamps(life: Lifetime) -> Ints:
    """Return the stamps of all rows so far (UTC ms): the ends of hours that are over (FACTS: inferred)."""
    listing = life.listing
    first = (listing.created_ms // HOUR_MS + 1) * HOUR_MS
    first = max(first, FIRST_INVERSE_MS) if listing.reversed else first
    stamps: Ints = np.arange(first, life.now_ms + 1, HOUR_MS, dtype=np.int64)
    kept = (stamps != HOLE_MS[0]) & (stamps != HOLE_MS[1])
    for start, end in life.gone:
        kept &= (stamps <= start) | (stamps > end)
    found: Ints = stamps[kept]
    return found


def interest(life: Lifetime, stamps: Ints) -> Floats:
    """Return `interest_1h`, the rate realised over the hour before each stamp; some are 1e-9 or less."""
    hour = stamps // HOUR_MS
    premium = life.walk("premium", hour, _DISTANCES)
    beyond = np.sign(premium) * np.maximum(np.abs(premium) - _STILL, 0)
    size = 4e-5 if life.listing.reversed else 8e-4
    rates = beyond * np.abs(beyond) * size * (0.5 + life.hashed("rate", hour))
    tiny = life.hashed("tiny", hour)
    rates = np.where(tiny < 0.01, rates * 10.0 ** (-3 - 300 * tiny), rates)
    return np.where(rates == 0, 0.0, rates)  # never -0.0


def realised(life: Lifetime, after_ms: int, end_ms: int) -> Table:
    """Return `timestamp` and `interest_1h` of `funding`, of however many rows, without their prices."""
    stamps = funding_stamps(life)
    first, last = np.searchsorted(stamps, (after_ms, end_ms), side="right")
    stamps = stamps[int(first) : int(last)]
    return {"timestamp": stamps, "interest_1h": interest(life, stamps)}


def funding(life: Lifetime, after_ms: int, end_ms: int, most: int | None = None) -> Table:
    """Return the rows with `after_ms < timestamp <= end_ms` (FACTS: seen), ascending; the newest `most`.

    The first row ever has a `prev_index_price` of NaN, which a reply writes as null.
    """
    stamps = funding_stamps(life)
    first, last = (int(found) for found in np.searchsorted(stamps, (after_ms, end_ms), side="right"))
    first = first if most is None else max(first, last - most)
    if first >= last:
        return {name: np.empty(0, np.int64 if name == "timestamp" else np.float64) for name in COLUMNS}
    # seven rows before the first one count in its interest_8h, and the row before those has their price
    begin = max(0, first - _TRAILING)
    known = stamps[begin:last]
    index = life.index(known)
    previous = np.concatenate(([np.nan], index[:-1]))
    rates = interest(life, known)
    columns: Table = {
        "timestamp": known,
        "index_price": index,
        "interest_8h": _eight_hours(rates, previous, index, inverse=life.listing.reversed),
        "interest_1h": rates,
        "prev_index_price": previous,
    }
    return {name: values[first - begin :] for name, values in columns.items()}


def _eight_hours(rates: Floats, previous: Floats, index: Floats, *, inverse: bool) -> Floats:
    """Return `interest_8h`: over the trailing eight rows, or as many as there are.

    Inverse: the previous index of the first of them x sum(interest_1h / prev_index_price) (FACTS: seen on 17
    windows). Linear: the plain sum (FACTS: unknown, presumed).
    """
    prices = np.where(np.isnan(previous), index, previous) if inverse else np.ones(len(rates))
    terms = np.concatenate((np.zeros(_TRAILING - 1), rates / prices))
    total = np.zeros(len(rates))
    for back in range(_TRAILING):  # in one order, so that a row has the same bits in every window
        total += terms[back : back + len(rates)]
    return prices[np.maximum(np.arange(len(rates)) - _TRAILING + 1, 0)] * total
