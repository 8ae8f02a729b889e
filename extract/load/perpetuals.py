"""The rows of a series as a stream for dlt: planned from its cursor, fetched ahead, ended by a failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import dlt

from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Instrument
from extract.load.endpoint import Endpoint
from extract.load.fetch import WindowResult, fetch_window
from extract.load.lifetimes import find_first_days
from extract.load.plan import Series, Window, plan_range
from extract.load.prefetch import WINDOWS_AHEAD, Prefetcher, fetch_threads
from extract.load.resources import BoundCursor, Tables
from extract.load.result import describe

log = logging.getLogger(__name__)

FAILED = "failed"
"""Key of the source's state: by series, the window that failed and ended its stream, and why."""


class Visit(NamedTuple):
    """What the streams of one extract share: a client, its threads, and Deribit's clock, UTC ms."""

    client: DeribitClient
    pool: ThreadPoolExecutor
    now_ms: int


@dataclass
class Exchange:
    """Access to Deribit for all streams of an extract; the first one opens a visit, the last one closes it.

    Attributes:
        api_url: base address of the API.
        budget: the rate limit of all requests together.
        streams: the most streams at once; they share the windows that are fetched ahead.
    """

    api_url: str
    budget: TokenBucket
    streams: int
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: int = 0
    _visit: Visit | None = None

    @contextmanager
    def visit(self) -> Iterator[Visit]:
        """Yield the open visit, or open one.

        Raises:
            DeribitError: the API cannot be reached.
        """
        with self._lock:
            if self._visit is None:
                client = DeribitClient(self.api_url, self.budget)
                now_ms = client.server_time().result
                self._visit = Visit(client, fetch_threads(), now_ms)
            visit = self._visit
            self._open += 1
        try:
            yield visit
        finally:
            with self._lock:
                self._open -= 1
                if not self._open:
                    self._visit = None
                    visit.client.stop()
                    visit.pool.shutdown(cancel_futures=True)


def stream_rows(
    exchange: Exchange, instrument: Instrument, endpoint: Endpoint, cursor: BoundCursor
) -> Tables:
    """Yield the rows of an instrument's closed buckets from its cursor on, a window at a time.

    A window without a usable reply ends the stream: the rows before it land, the cursor stops before it, and
    the next run fetches it again. The window is logged, and named in the source's state.

    Args:
        exchange: access to Deribit.
        instrument: the instrument.
        endpoint: the endpoint.
        cursor: dlt's incremental, with the state of earlier runs, the look-back and a user's hints applied.

    Raises:
        DeribitError: the API cannot be reached.
    """
    failed: dict[str, str] = dlt.current.source_state().setdefault(FAILED, {})
    failed.pop(endpoint.series(instrument.name), None)
    with exchange.visit() as visit:
        for result in _results(visit, exchange, instrument, endpoint, cursor):
            if result is None:
                yield None
            elif result.error is not None:
                reason = f"expected a reply for {describe(result.window)}, got: {result.error}"
                log.error("%s; the rows before it are saved, the next run fetches it again", reason)
                failed[endpoint.series(instrument.name)] = reason
                return
            elif result.rows.num_rows:
                yield result.rows


def _results(
    visit: Visit, exchange: Exchange, instrument: Instrument, endpoint: Endpoint, cursor: BoundCursor
) -> Iterator[WindowResult | None]:
    """Yield None, so that all streams send their requests before one waits; then each window's result."""
    start_ms = _ms(cursor.start_value)
    if start_ms < instrument.created_ms and instrument.ended_ms is None:
        first_days = find_first_days(visit.client, [instrument])
        if first_days.failed:
            yield first_days.failed[0]
            return
        [instrument] = first_days.found
    series = Series(
        instrument.name, endpoint, instrument.created_ms, visit.now_ms, ended_ms=instrument.ended_ms
    )
    to_ms = series.end_ms if cursor.end_value is None else _ms(cursor.end_value)
    windows = plan_range(series, (start_ms, to_ms))

    def fetch(window: Window) -> WindowResult:
        return fetch_window(visit.client, window, instrument.created_ms)

    ahead = max(1, WINDOWS_AHEAD // exchange.streams)
    with Prefetcher(fetch, windows, ahead=ahead, pool=visit.pool) as prefetcher:
        yield None
        for _ in windows:
            yield from prefetcher.take(1)


def _ms(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)
