"""A run: finds its instruments, fetches windows ahead, and lands load packages one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from extract.core.names import is_all
from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution
from extract.deribit.instruments import Instrument, Listed
from extract.load.compare import mark
from extract.load.endpoint import Endpoint, candles
from extract.load.fetch import WindowResult, fetch_window
from extract.load.lifetimes import find_delisted, find_first_days, is_settled
from extract.load.package import Packages, one_line_errors
from extract.load.plan import Cursor, Series, Window, packages
from extract.load.prefetch import Prefetcher
from extract.load.result import LoadResult
from extract.load.selection import choose, expect_known
from extract.load.source import deribit
from extract.load.state import ended_instruments, landed_ranges, read_cursor

if TYPE_CHECKING:
    from extract.load.loader import Loader


@dataclass(frozen=True)
class Run:
    """A run: its tools, and its result so far.

    Attributes:
        loader: the loader.
        packages: lands the load packages.
        exchange: the perpetuals that Deribit lists.
        endpoints: what to load.
        resolution: of the candles that show when a delisted perpetual ended.
        now_ms: Deribit's clock when the run began, UTC ms.
        state: the pipeline's state when the run began, kept because dlt decodes a file for each read.
        result: the result so far.
        instruments: the instruments of the run, by name, once they are found.
        expected_from: per series, the time from which a bucket without a row is fetched again, UTC ms.
    """

    loader: Loader
    packages: Packages
    exchange: Listed
    endpoints: Sequence[Endpoint]
    resolution: Resolution
    now_ms: int
    state: Mapping[str, Any]
    result: LoadResult = field(default_factory=LoadResult)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    expected_from: dict[str, int] = field(default_factory=dict)

    def series(self, instrument: Instrument, endpoint: Endpoint) -> Series:
        """Return a series with its cursor and its end, and enter where its rows are expected from."""
        series = self._series(self.state, instrument, endpoint)
        # rows from before a second listing: the time between the two listings is then a hole to fetch twice
        created_ms, last_ms = instrument.created_ms, series.cursor.last_ms
        self.expected_from[endpoint.series(instrument.name)] = min(created_ms, last_ms or created_ms)
        return series

    def _series(self, state: Mapping[str, Any], instrument: Instrument, endpoint: Endpoint) -> Series:
        name = instrument.name
        landed_candles = landed_ranges(state, name, candles(self.resolution)) if endpoint.at_open else ()
        return Series(
            name,
            endpoint,
            instrument.created_ms,
            self.now_ms,
            read_cursor(state, name, endpoint),
            instrument.ended_ms,
            landed_ranges(state, name, endpoint),
            begins_ms=landed_candles[0][0] if landed_candles else None,
        )

    def find(
        self,
        names: Sequence[str],
        loaded: Sequence[str],
        wants_earlier: Callable[[Instrument, Sequence[Cursor]], bool],
        *,
        skips_ended: bool,
    ) -> list[Instrument]:
        """Return the instruments of the run, with the times at which their candles begin and end.

        Args:
            names: as typed.
            loaded: what earlier runs loaded.
            wants_earlier: returns, from an instrument and its cursors, whether to look for candles from
                before its listing.
            skips_ended: whether to skip delisted perpetuals that are loaded up to their end.

        Raises:
            UsageError: a name is not known, or there is none.
        """
        chosen, absent = choose(names, self.exchange.perpetuals, loaded)
        refused = self.exchange.refused
        self.result.refused += [refused[name] for name in refused if is_all(names) or name in absent]
        left = [name for name in absent if skips_ended and self._has_ended(name)]
        early = [one for one in chosen if wants_earlier(one, self._cursors(one.name))]
        first_days = find_first_days(self.loader.client, early)
        wanted = [name for name in absent if name not in refused and name not in left]
        delisted = find_delisted(self.loader.client, wanted, self.resolution, self.now_ms)
        expect_known(
            [name for name in delisted.unknown if name not in loaded],
            [one.name for one in self.exchange.perpetuals],
        )
        self.result.unlisted += sorted([*left, *delisted.unknown])
        self.result.delisted |= {one.name: one.ended_ms or 0 for one in delisted.found}
        self.result.failed += [*first_days.failed, *delisted.failed]
        self.result.planned += len(self.result.failed)
        found = [*(one for one in chosen if one not in early), *first_days.found, *delisted.found]
        self.instruments.update({one.name: one for one in found})
        return found

    def _has_ended(self, name: str) -> bool:
        ended_ms = ended_instruments(self.state).get(name)
        return ended_ms is not None and self._is_whole(self.state, name, ended_ms)

    def _is_whole(self, state: Mapping[str, Any], name: str, ended_ms: int) -> bool:
        """Return whether a delisted instrument is loaded up to its end, UTC ms."""
        ended = Instrument(name, ended_ms, is_active=False, ended_ms=ended_ms)
        return all(self._series(state, ended, endpoint).is_whole for endpoint in self.endpoints)

    def _cursors(self, name: str) -> list[Cursor]:
        return [read_cursor(self.state, name, endpoint) for endpoint in self.endpoints]

    def land(self, windows: Sequence[Window]) -> None:
        """Fetch and land windows, package by package."""
        progress = self.loader.progress
        # by time, so that each package fills new chunks: those need no WAL (docs/decisions/loading.md)
        windows = sorted(windows, key=lambda window: window.start_ms)
        self.result.planned += len(windows)
        progress.planned(len(windows))
        client, pool = self.loader.client, self.loader.pool
        with Prefetcher(self._fetch, windows, stop=client.stop, pool=pool) as prefetcher:
            for package in packages(windows, self.loader.load_candles):
                results = self._marked(prefetcher.take(len(package)))
                sent = sum(result.landing for result in results)
                self.result.add(results)  # a package that cannot be landed ends the run with an error
                listed, lookback = self.exchange.perpetuals, self.loader.lookback
                source = deribit(results, listed, self.now_ms, lookback)
                results.clear()  # so that only the source holds the rows, and frees them
                self.packages.land(source, sent, _spans(package))
                progress.landed(sent)
                self.loader.landed(sent)

    def land_ends(self) -> None:
        """Land the ends of delisted perpetuals that are loaded completely, so that updates skip them."""
        state = self.packages.pipeline.state
        known = ended_instruments(state)
        ended = [
            one
            for one in self.instruments.values()
            if one.ended_ms is not None
            and one.ended_ms != known.get(one.name)
            and is_settled(one.ended_ms, self.now_ms)
            and self._is_whole(state, one.name, one.ended_ms)
        ]
        if ended:
            listed = [*self.exchange.perpetuals, *ended]
            self.packages.land(deribit([], listed, self.now_ms, self.loader.lookback), 0, {})
            self.loader.landed(0)

    def _marked(self, results: Sequence[WindowResult]) -> list[WindowResult]:
        state = self.packages.pipeline.state
        with one_line_errors("compare rows with those landed before"):
            return mark(results, partial(landed_ranges, state), self.packages.locked)

    def _fetch(self, window: Window) -> WindowResult:
        result = fetch_window(self.loader.client, window, self.expected_from[window.series])
        self.loader.progress.fetched(result.rows.num_rows)
        return result


def _spans(windows: Sequence[Window]) -> dict[str, TimeRange]:
    """Return by raw table the time range [start, end) that contains its windows, UTC ms."""
    spans: dict[str, TimeRange] = {}
    for window in windows:
        start, end = spans.get(window.endpoint.table, (window.start_ms, window.end_ms))
        spans[window.endpoint.table] = min(start, window.start_ms), max(end, window.end_ms)
    return spans
