"""When a perpetual is listed, and the hashed walks that its funding and settlements are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.simulator.candles import Floats, Ints
from extract.simulator.listings import Listing
from extract.simulator.market import Source, uniform


@dataclass(frozen=True)
class Lifetime:
    """A perpetual of a market as it is known at `now_ms`; all times in UTC ms.

    `gone` has the spans [start, end) in which it is not listed any more.
    """

    market: Source
    listing: Listing
    now_ms: int
    gone: tuple[tuple[int, int], ...] = ()

    def hashed(self, stream: str, index: Ints) -> Floats:
        """Return a number in [0, 1) for each index of a named stream, the same in every request."""
        return uniform(f"{self.market.label}/{self.listing.name}/{stream}", index)

    def walk(self, stream: str, index: Ints, distances: Sequence[int]) -> Floats:
        """Return a random walk at each index: about 1 strong, with a knot every so many indices."""
        height = np.zeros(len(index))
        weights = np.sqrt(np.array(distances, dtype=float))
        for distance, weight in zip(distances, weights / np.linalg.norm(weights), strict=True):
            knot = index // distance
            left, right = (self.hashed(f"{stream}{distance}", at) * 2 - 1 for at in (knot, knot + 1))
            height += weight * (left + (right - left) * (index / distance - knot))
        return height

    def index(self, at_ms: Ints) -> Floats:
        """Return the index price (quote coin) at ascending instants: near the candle, with its decimals."""
        spread = (self.hashed("index", at_ms) - 0.5) * 4e-4
        return self.decimals(self.market.prices(self.listing.name, at_ms) * (1 + spread))

    def decimals(self, price: Floats) -> Floats:
        """Return prices in hundredths, or in hundredths of a tick where ticks are smaller (FACTS: seen)."""
        tick = self.listing.tick_size
        return np.round(price, 2 if tick >= 0.01 else int(2 - np.floor(np.log10(tick))))
