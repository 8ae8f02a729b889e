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
from extract.load.holes import SHIFT, find_holes, plan_second_fetch
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
        error: why a request failed; then no row of the window is kept. None: all succeeded.
        requested: whether a request was sent. False: the window was given up before.
        lands: mask of the rows to land, which are new or changed. None: not compared, all are landed.
    """

    window: Window
    table: pa.Table | None = None
    fetches: tuple[Fetch, ...] = ()
    error: DeribitError | None = None
    requested: bool = True
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
    whole = (window.start_ms, window.end_ms)
    first = _fetch_range(client, window, whole)
    expected = (max(window.start_ms, window.resolution.floor(listed_ms)), window.end_ms)
    times = times_ms(first.rows)
    holes = find_holes(times[times >= expected[0]], expected, window.resolution)
    if not holes:
        return WindowResult(window, first.rows, first.fetches)
    fetched = [(fetch.start_ms, fetch.end_ms) for fetch in first.fetches]
    rows, fetches = first.rows, first.fetches
    for again in plan_second_fetch(holes, whole, fetched, window.resolution):
        second = _fetch_range(client, window, again, 1 + SHIFT, first.most_rows)
        rows = pa.concat_tables([rows, _inside(second.rows, holes)])
        fetches += second.fetches
    return WindowResult(window, rows.sort_by("timestamp"), fetches)


@dataclass(frozen=True)
class _FetchedRange:
    """A fetched range: its rows and fetches, ascending, and the number of rows of its longest reply.

    `most_rows` is 0 for pages, because `continuation` shows whether there are more.
    """

    rows: pa.Table
    fetches: tuple[Fetch, ...]
    most_rows: int = 0


def _fetch_range(
    client: DeribitClient, window: Window, time_range: TimeRange, early: int = 1, most_rows: int = 0
) -> _FetchedRange:
    """Fetch a range until a reply, or a page of settlements, reaches its start.

    Args:
        client: the Deribit client.
        window: has the instrument and endpoint.
        time_range: bucket opens, end exclusive, UTC ms.
        early: number of buckets by which requests begin early; without effect on pages.
        most_rows: rows of the longest reply so far.
    """
    if window.endpoint == SETTLEMENTS:
        return _fetch_pages(client, window, time_range)
    return _fetch_replies(client, window, time_range, early, most_rows)


def _fetch_replies(
    client: DeribitClient, window: Window, time_range: TimeRange, early: int, most_rows: int
) -> _FetchedRange:
    """Fetch a range of candles or funding. See `_fetch_range`.

    Each request begins a bucket early: one client saw the first candle of a range missing, and the extra row
    shows that the reply was not cut. If a reply begins later than requested, either it was cut to its newest
    rows, or there are no older ones. An empty reply, or one shorter than an earlier one, was not cut. After
    any other, the missing start is fetched again.
    """
    start, end = time_range
    tables: list[pa.Table] = []
    fetches: list[Fetch] = []
    while end > start:
        begin = start - early * window.resolution.step_ms
        rows, reply = _request(client, window, begin, end - 1)
        first = end if rows.first_ms is None else rows.first_ms
        empty = first >= end
        covered_from = start if empty or rows.count < most_rows else max(first, start)
        kept = _between(rows.table, covered_from, end)
        if empty and fetches:  # there are no older rows, so the reply before was not cut
            fetches[-1] = replace(fetches[-1], start_ms=start)
        fetches.append(_fetch(covered_from, end, kept, reply))
        tables.append(kept)
        end, most_rows = covered_from, max(most_rows, rows.count)
    return _FetchedRange(pa.concat_tables(reversed(tables)), tuple(reversed(fetches)), most_rows)


def _request(client: DeribitClient, window: Window, start_ms: int, end_ms: int) -> tuple[Rows, Reply]:
    """Request the rows from `start_ms` to `end_ms`, both inclusive, UTC ms."""
    if window.endpoint == FUNDING:
        return client.funding(window.instrument, start_ms, end_ms)
    return client.chart(window.instrument, window.resolution, start_ms, end_ms)


def _fetch_pages(client: DeribitClient, window: Window, time_range: TimeRange) -> _FetchedRange:
    """Fetch a range of settlements, the newest page first, until one reaches the start or is the last."""
    start, end = time_range
    tables: list[pa.Table] = []
    fetches: list[Fetch] = []
    page = None
    while end > start:
        page, reply = client.settlements(window.instrument, time_range[1] - 1, page)
        first = page.rows.first_ms
        # a page covers the whole day of its oldest row, so that no day is cut in two
        covered_from = start if page.token is None or first is None else window.resolution.floor(first)
        covered_from = max(start, min(covered_from, end))
        kept = _between(page.rows.table, covered_from, end)
        tables.append(kept)
        if covered_from < end:  # a page newer than the range covers nothing (its end is only documented)
            fetches.append(_fetch(covered_from, end, kept, reply))
        end = covered_from
    return _FetchedRange(pa.concat_tables(reversed(tables)), tuple(reversed(fetches)))


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
