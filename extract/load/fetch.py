"""Fetches windows with overlap, again if a reply was cut or has holes, and ahead of their use."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.core.ranges import TimeRange
from extract.deribit.candles import SCHEMA, bucket_opens
from extract.deribit.client import DeribitClient
from extract.deribit.errors import DeribitError, PermanentError
from extract.load.holes import SHIFT, find_holes, plan_second_ask
from extract.load.plan import Window

THREADS = 8  # Deribit takes at most 32 connections from one address (FACTS: documentation)
WINDOWS_AHEAD = 100
FAILURES_BEFORE_GIVING_UP = 2 * THREADS


@dataclass(frozen=True)
class Fetch:
    """One answered request; it shows whether Deribit had no candle or the candle was never requested.

    Attributes:
        start_ms, end_ms: the bucket opens that the reply covers, end exclusive, UTC ms.
        rows: number of candles in that range.
        fetched_ms: Deribit's clock when it answered, UTC ms.
        origin: live, testnet or simulator.
        new_rows, changed_rows: number of landed candles in that range that were new, or that differed from
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
    """The result of a window: candles and fetches, or an error.

    Attributes:
        window: the window.
        candles: closed candles inside the window, ascending, in the columns of `deribit.candles.SCHEMA`.
        fetches: the answered requests. Together they cover the window once, and its holes more than once.
        error: set if a request failed; then nothing of the window is kept.
        asked: False if the window was given up before any request was sent for it.
        lands: which candles are new or changed and will be landed. None: all, without a comparison.
    """

    window: Window
    candles: pa.Table = field(default_factory=SCHEMA.empty_table)
    fetches: tuple[Fetch, ...] = ()
    error: DeribitError | None = None
    asked: bool = True
    lands: npt.NDArray[np.bool_] | None = None

    @property
    def landing(self) -> int:
        """How many of the candles are landed."""
        return self.candles.num_rows if self.lands is None else int(self.lands.sum())


def fetch_window(client: DeribitClient, window: Window, listed_ms: int) -> WindowResult:
    """Fetch a window until replies cover every bucket, then fetch its holes again in a shifted range.

    One reply may lack candles that the next one has. All holes are fetched again together, in one or two
    ranges. Candles of missing buckets are added; the others stay unchanged.

    Args:
        client: the Deribit client.
        window: the window.
        listed_ms: the instrument's creation, UTC ms; earlier buckets have no candles and are not holes.

    Raises:
        DeribitError: a request failed.
    """
    whole = (window.start_ms, window.end_ms)
    first = _ask(client, window, whole)
    expected = (max(window.start_ms, window.resolution.floor(listed_ms)), window.end_ms)
    opens = bucket_opens(first.candles)
    holes = find_holes(opens[opens >= expected[0]], expected, window.resolution)
    if not holes:
        return WindowResult(window, first.candles, first.fetches)
    asked = [(fetch.start_ms, fetch.end_ms) for fetch in first.fetches]
    candles, fetches = first.candles, first.fetches
    for again in plan_second_ask(holes, whole, asked, window.resolution):
        second = _ask(client, window, again, 1 + SHIFT, first.most_rows)
        candles = pa.concat_tables([candles, _inside(second.candles, holes)])
        fetches += second.fetches
    return WindowResult(window, candles.sort_by("timestamp"), fetches)


@dataclass(frozen=True)
class _Asked:
    """A fetched range: its candles and fetches, ascending, and the rows of its longest reply."""

    candles: pa.Table
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
        window: has the instrument and resolution.
        time_range: bucket opens, end exclusive, UTC ms.
        early: number of buckets by which requests begin early.
        most_rows: rows of the longest reply so far.
    """
    start, end = time_range
    tables: list[pa.Table] = []
    fetches: list[Fetch] = []
    while end > start:
        begin = start - early * window.resolution.step_ms
        chart, reply = client.chart(window.instrument, window.resolution, begin, end - 1)
        first = end if chart.first_ms is None else chart.first_ms
        empty = first >= end
        spoken_from = start if empty or chart.rows < most_rows else max(first, start)
        kept = _between(chart.table, spoken_from, end)
        if empty and fetches:  # nothing is older, so the reply before was not cut
            fetches[-1] = replace(fetches[-1], start_ms=start)
        fetched_ms = reply.server_ms if reply.server_ms is not None else time.time_ns() // 1_000_000
        fetches.append(Fetch(spoken_from, end, kept.num_rows, fetched_ms, reply.origin))
        tables.append(kept)
        end, most_rows = spoken_from, max(most_rows, chart.rows)
    return _Asked(pa.concat_tables(reversed(tables)), tuple(reversed(fetches)), most_rows)


def _between(table: pa.Table, start_ms: int, end_ms: int) -> pa.Table:
    """Return the rows of a table, which ascend, with bucket opens in [start, end)."""
    first, end = map(int, np.searchsorted(bucket_opens(table), [start_ms, end_ms]))
    return table.slice(first, end - first)


def _inside(table: pa.Table, ranges: Sequence[TimeRange]) -> pa.Table:
    """Return the rows whose bucket open lies in one of the ascending ranges."""
    parts = [_between(table, start, end) for start, end in ranges]
    return pa.concat_tables([table.slice(0, 0), *parts])


def fetch_threads(threads: int = THREADS) -> ThreadPoolExecutor:
    """Return threads to fetch with. Each keeps a connection of its own. See `DeribitClient`."""
    return ThreadPoolExecutor(threads, thread_name_prefix="fetch")


class Prefetcher:
    """Fetches the windows of a plan in order, a bounded number of them ahead, in a pool of threads.

    A window that fails does not stop the others. Many failures in a row do: the API is gone, and the
    remaining windows are returned as not asked. An instrument that the API refuses
    permanently is not requested again.

    Args:
        fetch: fetches one window, in one of several threads.
        windows: the plan.
        threads: number of windows to fetch at once.
        ahead: number of results that may wait to be taken.
        stop: called when the block ends with an error, so that `fetch` ends its waits.
        pool: other threads to ask with, which stay when the block ends.
    """

    def __init__(
        self,
        fetch: Callable[[Window], WindowResult],
        windows: Iterable[Window],
        threads: int = THREADS,
        ahead: int = WINDOWS_AHEAD,
        stop: Callable[[], None] = lambda: None,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self._stop = stop
        self._fetch, self._windows, self._ahead = fetch, iter(windows), ahead
        self._owns_pool = pool is None
        self._pool = pool or fetch_threads(threads)
        self._waiting: deque[Future[WindowResult]] = deque()
        self._lock = threading.Lock()
        self._failures_in_a_row = 0
        self._refused: dict[str, PermanentError] = {}
        self._stopped = False

    def __enter__(self) -> Prefetcher:
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        if kind is not None:
            self._stop()
        for waiting in self._waiting:
            waiting.cancel()
        if self._owns_pool:
            self._pool.shutdown(wait=True)

    def take(self, count: int) -> list[WindowResult]:
        """Wait for the results of the next `count` windows of the plan and return them."""
        answers = []
        for _ in range(count):
            answers.append(self._waiting.popleft().result())
            self._fill()
        return answers

    def _fill(self) -> None:
        while len(self._waiting) < self._ahead:
            window = next(self._windows, None)
            if window is None:
                return
            self._waiting.append(self._pool.submit(self._result, window))

    def _result(self, window: Window) -> WindowResult:
        if refusal := self._refused.get(window.instrument):
            return WindowResult(window, error=refusal, asked=False)
        if self._stopped:
            return WindowResult(
                window, error=DeribitError("given up: too many failures in a row"), asked=False
            )
        try:
            result = self._fetch(window)
        except PermanentError as error:
            self._refused[window.instrument] = error
            return WindowResult(window, error=error)
        except DeribitError as error:
            self._count(failed=True)
            return WindowResult(window, error=error)
        self._count(failed=False)
        return result

    def _count(self, *, failed: bool) -> None:
        # giving up is final, so that the rest of the plan is returned at once
        with self._lock:
            self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
            self._stopped = self._stopped or self._failures_in_a_row >= FAILURES_BEFORE_GIVING_UP
