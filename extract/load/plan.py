"""What to ask Deribit: pure planning of windows. No clock, no I/O; every time is UTC milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from extract.core.ranges import TimeRange, merge, subtract
from extract.core.resolution import DAY_MS, Resolution

BUCKETS_PER_WINDOW = 5_000
DEFAULT_LOOKBACK, MOST_LOOKBACK = 10, 100_000
"""Candles that an update asks again for; of days, the most are 273 years."""
DEFAULT_PACKAGE, MOST_PACKAGE = 500_000, 10_000_000
"""Candles in a load package."""


@dataclass(frozen=True, order=True)
class Window:
    """One range of buckets of one instrument, to be answered as a whole.

    Attributes:
        instrument: such as BTC-PERPETUAL.
        start_ms: oldest bucket open, inclusive.
        end_ms: exclusive bound of bucket opens.
        resolution: length of a bucket.
        forward: the window continues the instrument's cursor and moves it. False: it fills history and leaves
            the cursor where it is.
    """

    instrument: str
    start_ms: int
    end_ms: int
    resolution: Resolution
    forward: bool = True

    @property
    def buckets(self) -> int:
        """How many candles the window can hold."""
        return -(-(self.end_ms - self.start_ms) // self.resolution.step_ms)


@dataclass(frozen=True)
class Cursor:
    """Where an instrument stands at one resolution.

    Attributes:
        last_ms: open of the newest candle landed without a break since the first load; None before it.
        owed: windows that were asked and never answered, older than the cursor or outside its path.
    """

    last_ms: int | None = None
    owed: tuple[TimeRange, ...] = ()


@dataclass(frozen=True)
class Series:
    """One instrument at one resolution, as it stands when a plan is made.

    Attributes:
        instrument: its name.
        resolution: of the candles.
        listed_ms: the instrument's creation, or its first day if that is earlier, UTC ms.
        now_ms: the server's clock, or the instrument's end if that is earlier, UTC ms.
        cursor: where it stands.
    """

    instrument: str
    resolution: Resolution
    listed_ms: int
    now_ms: int
    cursor: Cursor = Cursor()

    @property
    def closed_ms(self) -> int:
        """Exclusive bound of the buckets that are closed, UTC ms."""
        return self.resolution.closed_end(self.now_ms)

    def windows(self, ranges: Iterable[TimeRange], *, forward: bool) -> Iterator[Window]:
        """Cut ranges into windows that one reply can hold."""
        length = BUCKETS_PER_WINDOW * self.resolution.step_ms
        for start, end in merge(ranges):
            for at in range(start, end, length):
                yield Window(self.instrument, at, min(at + length, end), self.resolution, forward)


def plan_update(series: Series, lookback: int) -> list[Window]:
    """Plan from the cursor to the last closed candle, and whatever is still owed.

    Without a cursor the plan begins with what is owed, or at listing.

    Args:
        series: what to plan for.
        lookback: how many buckets up to and including the cursor's are asked again for late revisions.
    """
    resolution, cursor, end = series.resolution, series.cursor, series.closed_ms
    earliest = earliest_start(resolution, series.listed_ms)
    if cursor.last_ms is not None:
        # down to the grid: a cursor off the grid must not shift what is asked
        following = resolution.floor(cursor.last_ms) + resolution.step_ms
        start = max(following - lookback * resolution.step_ms, min(earliest, following))
    elif cursor.owed:
        start = cursor.owed[0][0]
    else:
        start = earliest
    owed = [part for one in cursor.owed for part in subtract([one], [(start, end)])]
    return [*series.windows(owed, forward=False), *series.windows([(start, end)], forward=True)]


def plan_range(series: Series, time_range: TimeRange) -> list[Window]:
    """Plan an explicit range: what lies behind the cursor is history, what continues it moves the cursor.

    A range that begins beyond the cursor leaves it where it is, so that the next update still asks for what
    lies between. Times before the first candle are passed over but for one window.

    Args:
        series: what to plan for.
        time_range: start inclusive, end exclusive, UTC ms.
    """
    resolution, cursor = series.resolution, series.cursor
    start = max(resolution.ceil(time_range[0]), earliest_start(resolution, series.listed_ms))
    end = min(time_range[1], series.closed_ms)
    if cursor.last_ms is None:
        behind, ahead = (start, start), (start, end)
    else:
        following = cursor.last_ms + resolution.step_ms
        continues = start <= following
        behind = (start, min(end, following) if continues else end)
        ahead = (behind[1], end)
    owed = subtract(cursor.owed, [(start, end)])
    return [*series.windows([*owed, behind], forward=False), *series.windows([ahead], forward=True)]


def plan_repair(series: Series, holes: Sequence[TimeRange]) -> list[Window]:
    """Plan to ask again for holes, each widened by a bucket on both sides so that its edges are seen too.

    Args:
        series: what to plan for.
        holes: bucket opens that are missing, end exclusive, UTC ms.
    """
    step, end = series.resolution.step_ms, series.closed_ms
    # neighbours are not merged: the start of its window is how a gap's last ask is found again
    return [
        window
        for start, stop in sorted(holes)
        for window in series.windows([(start - step, min(stop + step, end))], forward=False)
    ]


def plan_history(series: Series, time_range: TimeRange) -> list[Window]:
    """Plan an explicit range and whatever is owed, all of it as history: no cursor is made or moved.

    Args:
        series: what to plan for.
        time_range: start inclusive, end exclusive, UTC ms.
    """
    end = min(time_range[1], series.closed_ms)
    ranges = [*series.cursor.owed, (series.resolution.ceil(time_range[0]), end)]
    return list(series.windows(ranges, forward=False))


def earliest_start(resolution: Resolution, listed_ms: int) -> int:
    """Return where a history begins: the first bucket less one window, which answers `no_data`.

    It is a day or more, because what was listed before is known to the day.
    """
    return resolution.floor(listed_ms) - max(BUCKETS_PER_WINDOW * resolution.step_ms, DAY_MS)


def packages(windows: Iterable[Window], candles: int) -> Iterator[list[Window]]:
    """Cut a plan into load packages of at most `candles` candles (one window at the least), in order."""
    package: list[Window] = []
    room = candles
    for window in windows:
        if package and window.buckets > room:
            yield package
            package, room = [], candles
        package.append(window)
        room -= window.buckets
    if package:
        yield package
