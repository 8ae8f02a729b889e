"""Plans the windows to fetch; pure functions without clock and I/O. Every time is in UTC milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extract.core.ranges import TimeRange, merge, subtract
from extract.core.resolution import DAY_MS, MINUTE_MS, Resolution

if TYPE_CHECKING:  # the flags need the numbers below, and no Arrow
    from extract.load.endpoint import Endpoint

DEFAULT_LOOKBACK, MOST_LOOKBACK = 10, 100_000
"""Rows of a series that an update fetches again; as days, the most are 273 years."""
DEFAULT_LOAD_CANDLES, MOST_LOAD_CANDLES = 500_000, 10_000_000
"""Most rows in a load."""
LATE_MS = 5 * MINUTE_MS
"""How long updates request a late row again, counted from the open of its bucket. See `Endpoint.at_open`."""


@dataclass(frozen=True, order=True)
class Window:
    """A time range of one series that is fetched as a whole.

    Attributes:
        instrument: such as BTC-PERPETUAL.
        start_ms: oldest bucket open, inclusive.
        end_ms: exclusive bound of bucket opens.
        endpoint: what is fetched.
        forward: whether the window continues the series' cursor and moves it. False: it fills history, and
            the cursor stays.
    """

    instrument: str
    start_ms: int
    end_ms: int
    endpoint: Endpoint
    forward: bool = True

    @property
    def resolution(self) -> Resolution:
        """Length of a bucket."""
        return self.endpoint.resolution

    @property
    def series(self) -> str:
        """Name of its series. See `Endpoint.series`."""
        return self.endpoint.series(self.instrument)

    @property
    def buckets(self) -> int:
        """Number of rows that the window can hold."""
        return -(-(self.end_ms - self.start_ms) // self.resolution.step_ms)


@dataclass(frozen=True)
class Cursor:
    """How far a series is loaded.

    Attributes:
        last_ms: open of the newest bucket with a loaded row, UTC ms; None before the first load.
        owed: failed windows that the next run fetches again, older than the cursor or not continuing it.
    """

    last_ms: int | None = None
    owed: tuple[TimeRange, ...] = ()


@dataclass(frozen=True)
class Series:
    """One instrument at one endpoint, at the time of planning.

    Attributes:
        instrument: its name.
        endpoint: what is loaded.
        listed_ms: the instrument's creation, or its first day if that is earlier, UTC ms.
        now_ms: the server's clock, UTC ms.
        cursor: how far the series is loaded.
        ended_ms: the end of a delisted instrument, UTC ms.
        landed: the times [start, end) that were landed before, ascending, UTC ms.
        begins_ms: where the candles of the instrument begin, if they do not begin at the listing, UTC ms.
    """

    instrument: str
    endpoint: Endpoint
    listed_ms: int
    now_ms: int
    cursor: Cursor = Cursor()
    ended_ms: int | None = None
    landed: tuple[TimeRange, ...] = ()
    begins_ms: int | None = None

    @property
    def end_ms(self) -> int:
        """Exclusive end of the buckets for which Deribit has a row, UTC ms."""
        end = self.endpoint.end_ms(self.now_ms)
        if self.ended_ms is None:
            return end
        # the row about the last hour or day belongs to the bucket that opens when that hour or day ends
        last = self.endpoint.resolution.ceil(self.ended_ms) if self.endpoint.at_open else self.ended_ms
        return min(end, self.endpoint.end_ms(last))

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to fetch: everything after the cursor was landed, and no window is owed."""
        resolution, last = self.endpoint.resolution, self.cursor.last_ms
        begins = max(self.listed_ms, self.begins_ms or 0)
        start = resolution.floor(begins) if last is None else last + resolution.step_ms
        return not self.cursor.owed and not subtract([(start, self.end_ms)], self.landed)

    @property
    def is_due(self) -> bool:
        """Whether an update can find a new row, or one that is late."""
        if not self.endpoint.at_open or not self.is_whole:
            return True
        newest = self.end_ms - self.endpoint.resolution.step_ms
        missing = self.cursor.last_ms is None or self.cursor.last_ms < newest
        return missing and self.now_ms - newest < LATE_MS

    def windows(self, ranges: Iterable[TimeRange], *, forward: bool) -> Iterator[Window]:
        """Cut ranges into windows."""
        length = self.endpoint.window_ms
        for start, end in merge(ranges):
            for at in range(start, end, length):
                yield Window(self.instrument, at, min(at + length, end), self.endpoint, forward)


def plan_update(series: Series, lookback: int) -> list[Window]:
    """Plan the owed windows, and those from the cursor to the last bucket for which Deribit has a row.

    Without a cursor, the plan begins at the first of these that is known: the first owed window, the end of
    the first landed range (in which there was no row), the first candle, the listing. If there can be no new
    row, nothing is planned.

    Args:
        series: the series to plan for.
        lookback: number of buckets, up to and including the cursor's, to fetch again for late revisions.
    """
    if not series.is_due:
        return []
    resolution, cursor, end = series.endpoint.resolution, series.cursor, series.end_ms
    first = earliest_start(series)
    if series.landed:
        first = series.landed[0][0]
    elif series.begins_ms is not None:
        first = max(first, resolution.ceil(series.begins_ms))
    back = lookback * resolution.step_ms
    if cursor.last_ms is not None:
        # round down to the grid, so that a cursor off the grid does not shift the windows
        following = resolution.floor(cursor.last_ms) + resolution.step_ms
        start = max(following - back, min(first, following))
    elif cursor.owed:
        start = cursor.owed[0][0]
    elif series.landed and series.endpoint.at_open:
        start = max(series.landed[0][1] - back, first)
    else:
        start = first
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
    resolution, cursor = series.endpoint.resolution, series.cursor
    start = max(resolution.ceil(time_range[0]), earliest_start(series))
    end = min(time_range[1], series.end_ms)
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
    step, end = series.endpoint.resolution.step_ms, series.end_ms
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
    end = min(time_range[1], series.end_ms)
    ranges = [*series.cursor.owed, (series.endpoint.resolution.ceil(time_range[0]), end)]
    return list(series.windows(ranges, forward=False))


def earliest_start(series: Series) -> int:
    """Return where a history begins, UTC ms: one window before the listing, which usually has no rows.

    The window is at least a day, because the start of older listings is known only to the day.
    """
    return series.endpoint.resolution.floor(series.listed_ms) - max(series.endpoint.window_ms, DAY_MS)


def packages(windows: Iterable[Window], rows: int) -> Iterator[list[Window]]:
    """Split a plan into load packages of at most `rows` rows (at least one window), in order."""
    package: list[Window] = []
    room = rows
    for window in windows:
        if package and window.buckets > room:
            yield package
            package, room = [], rows
        package.append(window)
        room -= window.buckets
    if package:
        yield package
