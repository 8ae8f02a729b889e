"""A series as a stream for dlt: planned from its cursor, fetched ahead, ended by a failure."""

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
"""Where the source's state names the windows that ended a stream, by resource."""


class Visit(NamedTuple):
    """What the streams of one extract share: the client, its threads, and the server's clock, UTC ms."""

    client: DeribitClient
    pool: ThreadPoolExecutor
    now_ms: int


@dataclass
class Exchange:
    """Deribit, as long as any stream needs it: the first one opens a visit, the last one ends it.

    Attributes:
        api_url: base address of the API.
        budget: of all requests together.
        streams: how many there may be at once; they share the windows that are fetched ahead.
    """

    api_url: str
    budget: TokenBucket
    streams: int
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: int = 0
    _visit: Visit | None = None

    @contextmanager
    def visit(self) -> Iterator[Visit]:
        """Yield the visit under way, or a new one.

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

    A window without a usable answer ends the stream: what came before it lands, the cursor stays there, and
    the next run asks again. It is logged, and named in the state of the source.

    Args:
        exchange: whom to ask.
        instrument: whose rows.
        endpoint: where they are from.
        cursor: as bound by dlt, which knows of earlier runs, of the look-back and of a user's own hints.

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
                reason = f"expected an answer for {describe(result.window)}, got: {result.error}"
                log.error("%s; what came before it lands, the next run asks again", reason)
                failed[endpoint.series(instrument.name)] = reason
                return
            elif result.rows.num_rows:
                yield result.rows


def _results(
    visit: Visit, exchange: Exchange, instrument: Instrument, endpoint: Endpoint, cursor: BoundCursor
) -> Iterator[WindowResult | None]:
    """Yield what came of each window, in order; first None, so that all streams ask before one waits."""
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
