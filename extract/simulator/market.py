"""The simulated truth: every minute of every perpetual, a pure function of seed, instrument and time.

No minute depends on having computed another: prices are sums of interpolated hashed knots (a random walk in
octaves), everything else is hashed from the minute's number. So a minute is the same in every request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np

from extract.errors import PerpsError
from extract.simulator.candles import (
    MINUTE_MS,
    NOISE_ENDS_MS,
    RESOLUTIONS,
    Candles,
    Floats,
    Ints,
    aggregate,
    bucket_open,
    concat,
    empty,
    forming,
)
from extract.simulator.listings import DEFAULT, Listing, extra

Adjust = Callable[[str, Candles], Candles]
"""Takes an instrument and its finest candles, returns them with faults of the market applied."""

CHUNK_ROWS = 200_000  # minutes held at once while a coarse resolution is aggregated
_TRADE_EVERY = 64  # a minute divisible by it always trades: how far back a fill has to look
_OCTAVES = tuple(4**power for power in range(1, 10))  # knot distances in minutes: 4 minutes to 182 days
_MINUTE_SIGMA = 0.0005
_YEAR_MINUTES = 525_960


class Source(Protocol):
    """The interface of a market."""

    label: str
    listings: dict[str, Listing]

    def candles(
        self,
        instrument: str,
        resolution: str,
        start_ms: int,
        end_ms: int,
        *,
        now_ms: int | None = None,
        adjust: Adjust | None = None,
    ) -> Candles:
        """Return the candles whose bucket open lies in [bucket of start_ms, end_ms]."""
        ...

    def prices(self, instrument: str, at_ms: Ints) -> Floats:
        """Return the price near which candles trade at each of ascending instants (UTC ms)."""
        ...


@dataclass(frozen=True)
class _Minutes:
    """The minutes being computed: their numbers since the epoch, from one that surely trades."""

    listing: Listing
    seed: int
    number: Ints

    def hashed(self, stream: str, index: Ints | None = None) -> Floats:
        """Return a uniform number in [0, 1) for each minute (or index) in a named stream."""
        return uniform(f"{self.seed}/{self.listing.name}/{stream}", self.number if index is None else index)


class Market:
    """A deterministic market of perpetuals.

    `seed` changes every price; `instruments` are the listings, `extra_instruments` adds that many small
    linear ones (122 of them make 131 with the default listings, Deribit's count in 2026).
    """

    def __init__(
        self, seed: int = 7, instruments: Sequence[Listing] = DEFAULT, extra_instruments: int = 0
    ) -> None:
        self.seed = seed
        self.label = f"seed={seed}"
        self.listings = {listing.name: listing for listing in (*instruments, *extra(extra_instruments))}

    def minutes(self, instrument: str, start_ms: int, end_ms: int) -> Candles:
        """Return the one-minute candles from the minute that contains `start_ms` to `end_ms`, inclusive.

        Nothing exists before the minute that contains the creation timestamp. Raises PerpsError for an
        instrument that is not listed.
        """
        listing = self._listing(instrument)
        listed = listing.created_ms // MINUTE_MS
        first, last = max(start_ms // MINUTE_MS, listed), end_ms // MINUTE_MS
        if last < first:
            return empty()
        anchor = max(first // _TRADE_EVERY * _TRADE_EVERY, listed)
        minutes = _Minutes(listing, self.seed, np.arange(anchor, last + 1, dtype=np.int64))
        return _candles(minutes).take(slice(first - anchor, None))

    def candles(
        self,
        instrument: str,
        resolution: str,
        start_ms: int,
        end_ms: int,
        *,
        now_ms: int | None = None,
        adjust: Adjust | None = None,
    ) -> Candles:
        """Return the candles of a resolution, from the bucket that contains `start_ms` to `end_ms` inclusive.

        With `now_ms`, they are as seen at that instant: nothing later, the last one partial while it forms.
        `adjust` changes the minutes before they are aggregated. Raises PerpsError for an instrument that is
        not listed or a resolution that does not exist.
        """
        if resolution not in RESOLUTIONS:
            raise PerpsError(f"expected a resolution of {', '.join(RESOLUTIONS)}, got {resolution}; use one")
        width = RESOLUTIONS[resolution]
        start = max(start_ms, self._listing(instrument).created_ms)
        limit = end_ms if now_ms is None else min(end_ms, now_ms)
        step = max(1, CHUNK_ROWS * MINUTE_MS // width) * width
        parts = []
        for chunk in range(bucket_open(start, resolution), limit + 1, step):
            last_bucket = min(bucket_open(limit, resolution), chunk + step - width)
            before = self.minutes(instrument, chunk - MINUTE_MS, last_bucket + width - 1)
            minutes = before if now_ms is None else forming(before, MINUTE_MS, now_ms)
            minutes = minutes.between(chunk, last_bucket + width - 1)
            minutes = adjust(instrument, minutes) if adjust else minutes
            parts.append(minutes if resolution == "1" else aggregate(minutes, resolution))
        return concat(parts)

    def prices(self, instrument: str, at_ms: Ints) -> Floats:
        """Return the unrounded price at the start of the minute of each of ascending instants (UTC ms).

        A trading minute opens within 0.03 % of it. Raises PerpsError for an instrument that is not listed.
        """
        listing = self._listing(instrument)
        number = at_ms // MINUTE_MS
        return _path(_Minutes(listing, self.seed, number), number) if len(number) else np.empty(0)

    def _listing(self, instrument: str) -> Listing:
        if instrument not in self.listings:
            raise PerpsError(f"expected a listed instrument, got {instrument}; ask get_instruments for names")
        return self.listings[instrument]


def uniform(stream: str, index: Ints) -> Floats:
    """Return a number in [0, 1) for each index, the same for the same stream and index (splitmix64)."""
    key = int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")
    with np.errstate(over="ignore"):
        z = index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _candles(minutes: _Minutes) -> Candles:
    """Return the candles of a run of minutes whose first one trades."""
    prices = _traded_prices(minutes)
    listing, number = minutes.listing, minutes.number
    always = (number % _TRADE_EVERY == 0) | (number == listing.created_ms // MINUTE_MS)
    silent = (minutes.hashed("silent") < listing.silence) & ~always
    block = (minutes.hashed("block") < 0.002) & ~always & ~silent
    flat = silent | block
    # a fill and a block-only minute repeat the close of the last minute that traded on the book
    last_traded = np.maximum.accumulate(np.where(flat, 0, np.arange(len(number))))
    previous = prices["close"][last_traded]
    for name, column in prices.items():
        prices[name] = np.where(flat, previous, column)
    volume, cost = _turnover(minutes, prices["low"], prices["high"], block)
    return Candles(
        ticks=number * MINUTE_MS,
        **prices,
        volume=np.where(silent, 0.0, volume),
        cost=np.where(silent, 0.0, cost),
    )


def _traded_prices(minutes: _Minutes) -> dict[str, Floats]:
    """Return open, high, low and close on the tick grid, as if every minute traded."""
    listing = minutes.listing
    path = _path(minutes, np.append(minutes.number, minutes.number[-1] + 1))
    wiggle = _MINUTE_SIGMA / 2
    open_ = _grid(path[:-1] * (1 + wiggle * (minutes.hashed("open") - 0.5)), listing.tick_size)
    close = _grid(path[1:] * (1 + wiggle * (minutes.hashed("close") - 0.5)), listing.tick_size)
    above, below = (minutes.hashed(name) ** 2 * _MINUTE_SIGMA * 2 for name in ("high", "low"))
    high = _grid(np.maximum(open_, close) * (1 + above), listing.tick_size)
    low = _grid(np.minimum(open_, close) * (1 - below), listing.tick_size)
    return {"open": open_, "high": high, "low": low, "close": close}


def _path(minutes: _Minutes, number: Ints) -> Floats:
    """Return the unrounded price at the start of each minute."""
    listing = minutes.listing
    log_price = listing.growth * (number - listing.created_ms // MINUTE_MS) / _YEAR_MINUTES
    for distance in _OCTAVES:
        knot = number // distance
        left, right = _beside(minutes, distance, knot)
        log_price = log_price + left + (right - left) * ((number - knot * distance) / distance)
    return listing.price * np.exp(log_price)


def _beside(minutes: _Minutes, distance: int, knot: Ints) -> tuple[Floats, Floats]:
    """Return the heights of ascending knots, and of the knot after each."""

    def heights(knots: Ints) -> Floats:
        scaled: Floats = (minutes.hashed(f"octave{distance}", knots) * 2 - 1) * _MINUTE_SIGMA * distance**0.5
        return scaled

    first, last = int(knot[0]), int(knot[-1])
    if last - first > 2 * len(knot):  # far apart: hash only the knots that count
        return heights(knot), heights(knot + 1)
    table = heights(np.arange(first, last + 2, dtype=np.int64))
    return table[knot - first], table[knot - first + 1]


def _grid(price: Floats, tick_size: float) -> Floats:
    """Return prices rounded to the tick grid, each the double nearest to its decimal value."""
    tick = Decimal(repr(tick_size))
    scale: int = 10 ** max(0, -int(tick.as_tuple().exponent))
    steps: Floats = np.maximum(np.rint(price / tick_size), 1)
    return steps * float(tick * scale) / scale


def _turnover(minutes: _Minutes, low: Floats, high: Floats, block: np.ndarray) -> tuple[Floats, Floats]:
    """Return volume (base coin) and cost (quote coin); a block trade's price lies outside [low, high]."""
    listing = minutes.listing
    spread = -np.log1p(-minutes.hashed("lots"))
    lots = 1 + np.floor(listing.lots * spread**1.5)
    side = minutes.hashed("side")
    average = low + (high - low) * side
    average = np.where(block, average * np.where(side < 0.5, 0.98, 1.02), average)
    size = Decimal(repr(listing.contract_size))
    scale = 10 ** max(0, -int(size.as_tuple().exponent))
    amount = lots * float(size * scale) / scale
    if not listing.reversed:
        return amount, np.round(amount * average, 6)
    volume = amount / average
    ulps = np.floor(minutes.hashed("noise") * 4) - 1
    noisy = np.round(volume, 9) * (1 + ulps * 2.0**-52)
    old = minutes.number * MINUTE_MS < NOISE_ENDS_MS
    return np.where(old, noisy, np.round(volume, 8)), amount
