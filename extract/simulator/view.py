"""A market as a chart request sees it at a time: with the market's faults and the row limit."""

from __future__ import annotations

from dataclasses import dataclass

from extract.simulator.candles import RESOLUTIONS, Candles, bucket_open, concat, empty
from extract.simulator.market import Adjust, Source

MAX_ROWS = 5_001
"""The most rows in one reply (FACTS: seen)."""


@dataclass(frozen=True)
class View:
    """A market as it looks at `now_ms`, with the faults of the market applied by `adjust`."""

    market: Source
    now_ms: int
    adjust: Adjust | None = None

    def reply(
        self, instrument: str, resolution: str, start_ms: int, end_ms: int, rows: int = MAX_ROWS
    ) -> Candles:
        """Return Deribit's reply: both ends inclusive, the newest `rows` candles, with the forming one.

        Reads backwards in windows of `rows` buckets, so that a hole does not eat into the limit.
        """
        width = RESOLUTIONS[resolution]
        earliest = max(start_ms, self.market.listings[instrument].created_ms)
        oldest, upper = bucket_open(earliest, resolution), min(end_ms, self.now_ms)
        parts: list[Candles] = []
        missing = rows
        while missing > 0 and upper >= oldest:
            lower = max(oldest, bucket_open(upper, resolution) - (rows - 1) * width)
            found = self._read(instrument, resolution, lower, upper)
            parts.insert(0, found.take(slice(max(0, len(found) - missing), None)))
            missing -= len(parts[0])
            upper = lower - 1
        return concat(parts)

    def truth(self, instrument: str, resolution: str, start_ms: int, end_ms: int) -> Candles:
        """Return the closed candles with `start_ms <= tick < end_ms`, however many."""
        width = RESOLUTIONS[resolution]
        last_open = min(end_ms - 1, bucket_open(self.now_ms, resolution) - width)
        if last_open < start_ms:
            return empty()
        return self._read(instrument, resolution, start_ms, last_open).between(start_ms, last_open)

    def _read(self, instrument: str, resolution: str, start_ms: int, end_ms: int) -> Candles:
        return self.market.candles(
            instrument, resolution, start_ms, end_ms, now_ms=self.now_ms, adjust=self.adjust
        )
