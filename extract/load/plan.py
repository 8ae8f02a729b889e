"""Plans the windows to fetch; pure functions without clock and I/O. Every time is in UTC milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from extract.core.ranges import TimeRange, merge, subtract
from extract.core.resolution import DAY_MS, Resolution

BUCKETS_PER_WINDOW = 5_000
DEFAULT_LOOKBACK, MOST_LOOKBACK = 10, 100_000
"""Candles that an update asks again for; of days, the most are 273 years."""
DEFAULT_LOAD_CANDLES, MOST_LOAD_CANDLES = 500_000, 10_000_000
"""Candles in a load."""


@dataclass(frozen=True, order=True)
class Window:
    """A time range of one series that is fetched as a whole.

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
        """Number of candles that the window can hold."""
        return -(-(self.end_ms - self.start_ms) // self.resolution.step_ms)


@dataclass(frozen=True)
class Cursor:
    """How far a series is loaded.

    Attributes:
        last_ms: open of the newest loaded candle of the series, UTC ms; None before the first load.
        owed: failed windows that the next run fetches again, older than the cursor or not continuing it.
    """

    last_ms: int | None = None
    owed: tuple[TimeRange, ...] = ()


@dataclass(frozen=True)
class Series:
    """One instrument at one resolution, at the time of planning.

    Attributes:
        instrument: its name.
        resolution: of the candles.
        listed_ms: the instrument's creation, or its first day if that is earlier, UTC ms.
        now_ms: the server's clock, or the instrument's end if that is earlier, UTC ms.
        cursor: how far the series is loaded.
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
    """Plan from the cursor to the last closed candle, and the owed windows.

    Without a cursor the plan begins with the owed windows, or at the listing.

    Args:
        series: the series to plan for.
        lookback: number of buckets, up to and including the cursor's, to fetch again for late revisions.
    """
    resolution, cursor, end = series.resolution, series.cursor, series.closed_ms
    earliest = earliest_start(resolution, series.listed_ms)
    if cursor.last_ms is not None:
        # round down to the grid, so that a cursor off the grid does not shift the windows
        following = resolution.floor(cursor.last_ms) + resolution.step_ms
        start = max(following - lookback * resolution.step_ms, min(earliest, following))
    elif cursor.owed:
        start = cursor.owed[0][0]
    else:
        start = earliest
    owed = [part for one in cursor.owed for part in subtract([one], [(start, end)])]
    return [*series.windows(owed, forward=False), *series.windows([(start, end)], forward=True)]


def plan_range(series: Series, time_range: TimeRange) -> list[Window]:
    """Plan a time range: windows before the cursor are history, windows that continue it move the cursor.

    A range that begins after the cursor does not move it, so that the next update still fetches the time
    between. Times before the first candle are skipped, except for one window.

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
    """Plan to fetch gaps, each extended by a bucket on both sides so that its neighbours are fetched too.

    Args:
        series: what to plan for.
        holes: bucket opens that are missing, end exclusive, UTC ms.
    """
    step, end = series.resolution.step_ms, series.closed_ms
    # neighbours are not merged, because a gap's last fetch is found by the start of its window
    return [
        window
        for start, stop in sorted(holes)
        for window in series.windows([(start - step, min(stop + step, end))], forward=False)
    ]


def plan_history(series: Series, time_range: TimeRange) -> list[Window]:
    """Plan a time range and the owed windows, all as history: no cursor is created or moved.

    Args:
        series: what to plan for.
        time_range: start inclusive, end exclusive, UTC ms.
    """
    end = min(time_range[1], series.closed_ms)
    ranges = [*series.cursor.owed, (series.resolution.ceil(time_range[0]), end)]
    return list(series.windows(ranges, forward=False))


def earliest_start(resolution: Resolution, listed_ms: int) -> int:
    """Return where a history begins, UTC ms: one window before the first bucket, which returns `no_data`.

    The window is at least a day, because the start of older listings is known only to the day.
    """
    return resolution.floor(listed_ms) - max(BUCKETS_PER_WINDOW * resolution.step_ms, DAY_MS)


def packages(windows: Iterable[Window], candles: int) -> Iterator[list[Window]]:
    """Split a plan into load packages of at most `candles` candles (at least one window), in order."""
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
