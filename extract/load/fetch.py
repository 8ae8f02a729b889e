"""Fetches windows: with overlap, page by page, and again if a reply was cut or has holes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.core.ranges import TimeRange
from extract.deribit.client import DeribitClient
from extract.deribit.errors import DeribitError
from extract.deribit.replies import Reply
from extract.deribit.rows import Rows, times_ms
from extract.load.endpoint import FUNDING, SETTLEMENTS
from extract.load.holes import SHIFT, find_holes, plan_second_ask
from extract.load.plan import Window


@dataclass(frozen=True)
class Fetch:
    """One answered request; it shows whether Deribit had no row or the row was never requested.

    Attributes:
        start_ms, end_ms: the bucket opens that the reply covers, end exclusive, UTC ms.
        rows: number of rows in that range.
        fetched_ms: Deribit's clock when it answered, UTC ms.
        origin: live, testnet or simulator.
        new_rows, changed_rows: number of landed rows in that range that were new, or that differed from
            the known ones. 0 before they are compared.
    """

    start_ms: int
    end_ms: int
    rows: int
    fetched_ms: int
    origin: str
    new_rows: int = 0
    changed_rows: int = 0


@dataclass(frozen=True)
class WindowResult:
    """The result of a window: rows and fetches, or an error.

    Attributes:
        window: the window.
        table: rows inside the window, ascending, in the columns of `Endpoint.schema`; None without any.
        fetches: the answered requests. Together they cover the window once, and its holes more than once.
        error: set if a request failed; then nothing of the window is kept.
        asked: False if the window was given up before any request was sent for it.
        lands: which rows are new or changed and will be landed. None: all, without a comparison.
    """

    window: Window
    table: pa.Table | None = None
    fetches: tuple[Fetch, ...] = ()
    error: DeribitError | None = None
    asked: bool = True
    lands: npt.NDArray[np.bool_] | None = None

    @property
    def rows(self) -> pa.Table:
        """The rows, of which there may be none."""
        return self.window.endpoint.schema.empty_table() if self.table is None else self.table

    @property
    def landing(self) -> int:
        """How many of the rows are landed."""
        return self.rows.num_rows if self.lands is None else int(self.lands.sum())


def fetch_window(client: DeribitClient, window: Window, listed_ms: int) -> WindowResult:
    """Fetch a window until replies cover every bucket, then fetch its holes again in a shifted range.

    One reply may lack rows that the next one has. All holes are fetched again together, in one or two
    ranges. Rows of missing buckets are added; the others stay unchanged.

    Args:
        client: the Deribit client.
        window: the window.
        listed_ms: the instrument's creation, UTC ms; earlier buckets have no rows and are not holes.

    Raises:
        DeribitError: a request failed.
    """
    ask = _ask_pages if window.endpoint == SETTLEMENTS else _ask
    whole = (window.start_ms, window.end_ms)
    first = ask(client, window, whole)
    expected = (max(window.start_ms, window.resolution.floor(listed_ms)), window.end_ms)
    times = times_ms(first.rows)
    holes = find_holes(times[times >= expected[0]], expected, window.resolution)
    if not holes:
        return WindowResult(window, first.rows, first.fetches)
    asked = [(fetch.start_ms, fetch.end_ms) for fetch in first.fetches]
    rows, fetches = first.rows, first.fetches
    for again in plan_second_ask(holes, whole, asked, window.resolution):
        second = ask(client, window, again, 1 + SHIFT, first.most_rows)
        rows = pa.concat_tables([rows, _inside(second.rows, holes)])
        fetches += second.fetches
    return WindowResult(window, rows.sort_by("timestamp"), fetches)


@dataclass(frozen=True)
class _Asked:
    """A fetched range: its rows and fetches, ascending, and the number of rows of its longest reply."""

    rows: pa.Table
    fetches: tuple[Fetch, ...]
    most_rows: int


def _ask(
    client: DeribitClient, window: Window, time_range: TimeRange, early: int = 1, most_rows: int = 0
) -> _Asked:
    """Fetch a range until a reply reaches its start.

    Each request begins a bucket early: one client saw the first candle of a range missing, and the extra row
    shows that nothing was cut. A reply that begins later than requested was cut to its newest rows, or there
    is nothing older. An empty reply, or one with fewer rows than another one had, was not cut; otherwise the
    missing start is fetched again.

    Args:
        client: the Deribit client.
        window: has the instrument and endpoint.
        time_range: bucket opens, end exclusive, UTC ms.
        early: number of buckets by which requests begin early.
        most_rows: rows of the longest reply so far.
    """
    start, end = time_range
    tables: list[pa.Table] = []
    fetches: list[Fetch] = []
    while end > start:
        begin = start - early * window.resolution.step_ms
        rows, reply = _request(client, window, begin, end - 1)
        first = end if rows.first_ms is None else rows.first_ms
        empty = first >= end
        spoken_from = start if empty or rows.count < most_rows else max(first, start)
        kept = _between(rows.table, spoken_from, end)
        if empty and fetches:  # nothing is older, so the reply before was not cut
            fetches[-1] = replace(fetches[-1], start_ms=start)
        fetches.append(_fetch(spoken_from, end, kept, reply))
        tables.append(kept)
        end, most_rows = spoken_from, max(most_rows, rows.count)
    return _Asked(pa.concat_tables(reversed(tables)), tuple(reversed(fetches)), most_rows)


def _request(client: DeribitClient, window: Window, start_ms: int, end_ms: int) -> tuple[Rows, Reply]:
    """Request the rows from `start_ms` to `end_ms`, both inclusive, UTC ms."""
    if window.endpoint == FUNDING:
        return client.funding(window.instrument, start_ms, end_ms)
    return client.chart(window.instrument, window.resolution, start_ms, end_ms)


def _ask_pages(
    client: DeribitClient, window: Window, time_range: TimeRange, _early: int = 1, most_rows: int = 0
) -> _Asked:
    """Fetch a range page by page, the newest first, until a page reaches its start or there is none older.

    Args:
        client: the Deribit client.
        window: has the instrument.
        time_range: bucket opens, end exclusive, UTC ms.
        most_rows: rows of the longest reply so far.
    """
    start, end = time_range
    tables: list[pa.Table] = []
    fetches: list[Fetch] = []
    page = None
    while end > start:
        page, reply = client.settlements(window.instrument, time_range[1] - 1, page)
        first = page.rows.first_ms
        # the day of the oldest row is spoken for by its own page: days are not cut in two
        spoken_from = start if page.token is None or first is None else window.resolution.floor(first)
        spoken_from = max(start, min(spoken_from, end))
        kept = _between(page.rows.table, spoken_from, end)
        tables.append(kept)
        if spoken_from < end:  # a page may be newer than the range: its bound is only documented
            fetches.append(_fetch(spoken_from, end, kept, reply))
        end, most_rows = spoken_from, max(most_rows, page.rows.count)
    return _Asked(pa.concat_tables(reversed(tables)), tuple(reversed(fetches)), most_rows)


def _fetch(start_ms: int, end_ms: int, kept: pa.Table, reply: Reply) -> Fetch:
    fetched_ms = reply.server_ms if reply.server_ms is not None else time.time_ns() // 1_000_000
    return Fetch(start_ms, end_ms, kept.num_rows, fetched_ms, reply.origin)


def _between(table: pa.Table, start_ms: int, end_ms: int) -> pa.Table:
    """Return the rows of a table, which ascend, with times in [start, end)."""
    first, end = map(int, np.searchsorted(times_ms(table), [start_ms, end_ms]))
    return table.slice(first, end - first)


def _inside(table: pa.Table, ranges: Sequence[TimeRange]) -> pa.Table:
    """Return the rows whose time lies in one of the ascending ranges."""
    parts = [_between(table, start, end) for start, end in ranges]
    return pa.concat_tables([table.slice(0, 0), *parts])
