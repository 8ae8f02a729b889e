"""Which candles a size stands for: BTC and ETH, in minutes; times are ms since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from extract.simulator.candles import MINUTE_MS
from extract.simulator.listings import DEFAULT

ROWS_PER_REQUEST = 5_000
FULL = 7_250_000
"""BTC and ETH from listing to 21 October 2025 are 7.25 million candles."""

_LISTED = {listing.name: listing.created_ms // MINUTE_MS for listing in DEFAULT[:2]}
BTC, ETH = _LISTED
FULL_END = int(datetime(2025, 10, 21, tzinfo=UTC).timestamp()) // 60


@dataclass(frozen=True)
class Span:
    """The candles of BTC and ETH with `start_ms` <= tick < `end_ms`."""

    start_ms: int
    end_ms: int

    @property
    def by_instrument(self) -> dict[str, int]:
        """Return how many candles each instrument has; those listed later are left out."""
        first, last = self.start_ms // MINUTE_MS, self.end_ms // MINUTE_MS
        held = {name: last - max(first, listed) for name, listed in _LISTED.items()}
        return {name: candles for name, candles in held.items() if candles > 0}

    @property
    def candles(self) -> int:
        """Return how many candles there are."""
        return sum(self.by_instrument.values())

    @property
    def instruments(self) -> str:
        """Return the names, separated by commas."""
        return ",".join(self.by_instrument)

    @property
    def requests(self) -> int:
        """Return the least number of requests that can fetch them."""
        return sum(-(-candles // ROWS_PER_REQUEST) for candles in self.by_instrument.values())

    def flags(self) -> list[str]:
        """Return what `perps backfill` takes."""
        return ["--instruments", self.instruments, "--start", iso(self.start_ms), "--end", iso(self.end_ms)]


def newest(candles: int) -> Span:
    """Return the newest candles of both before FULL_END; more than there are: from listing to a later end."""
    if candles >= _WHOLE.candles or _is_whole(candles):
        return oldest(candles)
    length = _least(lambda guess: _span(FULL_END - guess, FULL_END).candles >= candles)
    return _span(FULL_END - length, FULL_END)


def oldest(candles: int) -> Span:
    """Return the candles from listing to an end; few of them are of the one that was listed first."""
    if _is_whole(candles):
        return _WHOLE
    return _span(
        _EARLIEST, _EARLIEST + _least(lambda guess: _span(_EARLIEST, _EARLIEST + guess).candles >= candles)
    )


def _is_whole(candles: int) -> bool:
    return abs(_WHOLE.candles - candles) < candles // 100


def iso(ms: int) -> str:
    """Return a time as the command line takes it."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _span(first: int, last: int) -> Span:
    return Span(first * MINUTE_MS, last * MINUTE_MS)


def _least(holds: Callable[[int], bool]) -> int:
    """Return the least number of minutes for which a condition holds that more minutes cannot break."""
    low, high = 0, 20_000_000
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


_EARLIEST = min(_LISTED.values())
_WHOLE = _span(_EARLIEST, FULL_END)
