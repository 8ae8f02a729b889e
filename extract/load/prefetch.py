"""Fetches the windows of a plan in threads, ahead of their use."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from extract.deribit.errors import DeribitError, PermanentError
from extract.load.endpoint import Endpoint
from extract.load.fetch import WindowResult
from extract.load.plan import Window

THREADS = 8  # Deribit takes at most 32 connections from one address (FACTS: documentation)
WINDOWS_AHEAD = 100
FAILURES_BEFORE_GIVING_UP = 2 * THREADS


def fetch_threads(threads: int = THREADS) -> ThreadPoolExecutor:
    """Return threads to fetch with. Each keeps a connection of its own. See `DeribitClient`."""
    return ThreadPoolExecutor(threads, thread_name_prefix="fetch")


class Prefetcher:
    """Fetches the windows of a plan in order, a bounded number of them ahead, in a pool of threads.

    A window that fails does not stop the others. After `FAILURES_BEFORE_GIVING_UP` failures in a row, the
    rest of that endpoint is given up: its windows are returned without a request. A series that the API
    refuses permanently is not requested again.

    Args:
        fetch: fetches one window, in one of several threads.
        windows: the plan.
        threads: number of windows to fetch at once.
        ahead: number of results that may wait to be taken.
        stop: called when the block ends with an error, so that `fetch` ends its waits.
        pool: threads to use instead of own ones; they are not ended with the block.
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
        self._failures_in_a_row: Counter[Endpoint] = Counter()
        self._gone: set[Endpoint] = set()
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
        results = []
        for _ in range(count):
            results.append(self._waiting.popleft().result())
            self._fill()
        return results

    def _fill(self) -> None:
        while len(self._waiting) < self._ahead:
            window = next(self._windows, None)
            if window is None:
                return
            self._waiting.append(self._pool.submit(self._result, window))

    def _result(self, window: Window) -> WindowResult:
        if refusal := self._refused.get(window.series):
            return WindowResult(window, error=refusal, requested=False)
        if self._stopped or window.endpoint in self._gone:
            return WindowResult(
                window, error=DeribitError("given up: too many failures in a row"), requested=False
            )
        try:
            result = self._fetch(window)
        except PermanentError as error:
            self._refused[window.series] = error
            return WindowResult(window, error=error)
        except DeribitError as error:
            self._count(window.endpoint, failed=True)
            return WindowResult(window, error=error)
        self._count(window.endpoint, failed=False)
        return result

    def _count(self, endpoint: Endpoint, *, failed: bool) -> None:
        # giving up is final, so that the rest of the plan is returned at once
        with self._lock:
            self._failures_in_a_row[endpoint] = self._failures_in_a_row[endpoint] + 1 if failed else 0
            if self._failures_in_a_row[endpoint] >= FAILURES_BEFORE_GIVING_UP:
                self._gone.add(endpoint)
