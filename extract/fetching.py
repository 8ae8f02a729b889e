"""Windows answered: asked with overlap, filtered, asked again where a reply was cut, and fetched ahead."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc

from extract.deribit.candles import SCHEMA
from extract.deribit.client import DeribitClient
from extract.deribit.errors import DeribitError, PermanentError
from extract.windows import Window

THREADS = 8  # Deribit takes at most 32 connections from one address (FACTS: documentation)
WINDOWS_AHEAD = 100
FAILURES_BEFORE_GIVING_UP = 2 * THREADS


@dataclass(frozen=True)
class Fetch:
    """One answered request: the evidence that tells "Deribit had nothing" from "nobody asked".

    Attributes:
        start_ms, end_ms: the bucket opens the answer speaks for, end exclusive, UTC ms.
        rows: candles it held in that range.
        fetched_ms: the server's clock when it answered, UTC ms.
        source: live, testnet or simulator.
    """

    start_ms: int
    end_ms: int
    rows: int
    fetched_ms: int
    source: str


@dataclass(frozen=True)
class Answer:
    """What a window's requests brought: candles and evidence, or the reason why not.

    Attributes:
        window: what was asked.
        candles: closed candles inside the window, in the columns of `deribit.candles.SCHEMA`.
        fetches: the evidence; together they cover the window exactly once.
        error: set when a request had no usable answer; then nothing of the window is kept.
        asked: False when the window was given up before any request was sent for it.
    """

    window: Window
    candles: pa.Table = field(default_factory=SCHEMA.empty_table)
    fetches: tuple[Fetch, ...] = ()
    error: DeribitError | None = None
    asked: bool = True


def answer(client: DeribitClient, window: Window) -> Answer:
    """Ask for a window until every bucket of it is spoken for.

    Each request begins one bucket early: one client saw the first candle of a range missing, and the extra
    row shows that nothing was cut. A reply that begins later than asked was cut to its newest rows, or has
    nothing older: the missing head is asked again until a reply reaches it or is empty.

    Raises:
        DeribitError: a request had no usable answer.
    """
    step = window.resolution.step_ms
    tables: list[pa.Table] = []
    fetches: list[Fetch] = []
    end = window.end_ms
    while end > window.start_ms:
        chart, reply = client.chart(window.instrument, window.resolution, window.start_ms - step, end - 1)
        first = chart.first_ms
        reached = window.start_ms if first is None else min(max(first, window.start_ms), end)
        kept = _between(chart.table, reached, end)
        fetched_ms = reply.server_ms if reply.server_ms is not None else time.time_ns() // 1_000_000
        fetches.append(Fetch(reached, end, kept.num_rows, fetched_ms, reply.source))
        tables.append(kept)
        if reached == end:  # nothing in range: the head is empty too, by this very answer
            fetches[-1] = Fetch(window.start_ms, end, 0, fetched_ms, reply.source)
            break
        end = reached
    return Answer(window, pa.concat_tables(reversed(tables)), tuple(reversed(fetches)))


def _between(table: pa.Table, start_ms: int, end_ms: int) -> pa.Table:
    ticks = table["timestamp"].cast(pa.int64())
    return table.filter(pc.and_(pc.greater_equal(ticks, start_ms), pc.less(ticks, end_ms)))


class Prefetcher:
    """Answers a plan in its order, fetching a bounded number of windows ahead in a pool of threads.

    A window that fails does not stop the others. Many failures without a single answer between them do: the
    API is gone, and the rest of the plan comes back as not asked. An instrument that the API refuses for good
    is not asked again.

    Args:
        fetch: answers one window, in one of several threads.
        windows: the plan.
        threads: how many windows are asked at once.
        ahead: how many answers may wait to be taken.
        stop: called when the block ends with an error, so that `fetch` gives up its waits.
    """

    def __init__(
        self,
        fetch: Callable[[Window], Answer],
        windows: Iterable[Window],
        threads: int = THREADS,
        ahead: int = WINDOWS_AHEAD,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._stop = stop
        self._fetch, self._windows, self._ahead = fetch, iter(windows), ahead
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
        self._waiting: deque[Future[Answer]] = deque()
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
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, count: int) -> list[Answer]:
        """Return the answers to the next `count` windows of the plan, waiting for them."""
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
            self._waiting.append(self._pool.submit(self._answer, window))

    def _answer(self, window: Window) -> Answer:
        if refusal := self._refused.get(window.instrument):
            return Answer(window, error=refusal, asked=False)
        if self._stopped:
            return Answer(window, error=DeribitError("given up: too many failures in a row"), asked=False)
        try:
            answered = self._fetch(window)
        except PermanentError as error:
            self._refused[window.instrument] = error
            return Answer(window, error=error)
        except DeribitError as error:
            self._count(failed=True)
            return Answer(window, error=error)
        self._count(failed=False)
        return answered

    def _count(self, *, failed: bool) -> None:
        # giving up is final, so that what is left of a plan comes back at once
        with self._lock:
            self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
            self._stopped = self._stopped or self._failures_in_a_row >= FAILURES_BEFORE_GIVING_UP
