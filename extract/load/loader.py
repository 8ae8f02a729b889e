"""One run of the dlt pipeline: plan, fetch ahead, and land load packages one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract.core.names import is_all
from extract.core.ranges import Interval
from extract.core.resolution import Resolution
from extract.database import cleaning, raw_tables
from extract.database.connection import Connection
from extract.database.locks import run_lock
from extract.database.privileges import check_server
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Instrument, Listed
from extract.load.compare import mark
from extract.load.fetch import Answer, Prefetcher, answer
from extract.load.lifetimes import find_delisted, find_first_days, is_settled
from extract.load.package import Packages, one_line_errors, open_pipeline
from extract.load.plan import (
    DEFAULT_LOOKBACK,
    DEFAULT_PACKAGE,
    Cursor,
    Window,
    packages,
    plan_history,
    plan_range,
    plan_repair,
    plan_update,
)
from extract.load.progress import RunProgress, Silent
from extract.load.result import Outcome, raise_incomplete
from extract.load.selection import check_source, choose, expect_closed, expect_known, why_nothing
from extract.load.source import deribit
from extract.load.state import (
    ended_instruments,
    landed_ranges,
    loaded_instruments,
    loaded_source,
    read_cursor,
)

Planner = Callable[[Instrument, Cursor, int], list[Window]]


@dataclass(frozen=True)
class Loader:
    """Everything a run needs: who to ask, where to land, where to work.

    Attributes:
        client: the Deribit API.
        database: where to land.
        workdir: folder for dlt's working files; one sub-folder a database.
        lookback: buckets asked again before each cursor.
        progress: told after every window and every package.
        package_candles: most candles in one load package; it bounds memory and what a killed run loses.
        wait_s: how long to wait for another load to end.
        landed: called with the number of new or changed candles of each package once it is complete in the
            database.
    """

    client: DeribitClient
    database: Connection
    workdir: Path
    lookback: int = DEFAULT_LOOKBACK
    progress: RunProgress = field(default_factory=Silent)
    package_candles: int = DEFAULT_PACKAGE
    wait_s: float = 0
    landed: Callable[[int], None] = lambda _candles: None

    def backfill(self, names: Sequence[str], resolution: Resolution, wanted: Interval) -> Outcome:
        """Land an explicit range [start, end) in UTC ms, whatever was loaded before. See `plan_range`.

        Args:
            names: instruments, or `all`.
            resolution: of the candles.
            wanted: start inclusive, end exclusive.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        nothing: dict[str, str] = {}

        def plan(instrument: Instrument, cursor: Cursor, end_ms: int) -> list[Window]:
            expect_closed(wanted, resolution, end_ms, instrument)
            if why := why_nothing(wanted, instrument):
                nothing[instrument.name] = why
            return plan_range(instrument.name, resolution, cursor, instrument.created_ms, end_ms, wanted)

        def reaches(instrument: Instrument, _cursor: Cursor) -> bool:
            return wanted[0] < instrument.created_ms

        outcome = self._run(names, resolution, plan, reaches)
        landed = {name for name, candles in outcome.candles.items() if candles}
        outcome.nothing = {name: why for name, why in nothing.items() if name not in landed}
        return outcome

    def update(self, names: Sequence[str], resolution: Resolution) -> Outcome:
        """Land from each cursor to the last closed candle. See `plan_update`.

        Args:
            names: instruments, `all`, or none for every instrument loaded before.
            resolution: of the candles.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        def plan(instrument: Instrument, cursor: Cursor, end_ms: int) -> list[Window]:
            created = instrument.created_ms
            return plan_update(instrument.name, resolution, cursor, created, end_ms, self.lookback)

        def reaches(_instrument: Instrument, cursor: Cursor) -> bool:
            return cursor == Cursor()

        return self._run(names, resolution, plan, reaches, leaves_ended=not names or is_all(names))

    def repair(self, holes: Mapping[str, Sequence[Interval]], resolution: Resolution) -> Outcome:
        """Ask again for holes in the table. See `plan_repair`.

        Args:
            holes: per instrument, the missing bucket opens [start, end) in UTC ms.
            resolution: of the candles.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        def plan(instrument: Instrument, _cursor: Cursor, end_ms: int) -> list[Window]:
            return plan_repair(instrument.name, resolution, end_ms, holes[instrument.name])

        return self._run(list(holes), resolution, plan)

    def history(
        self, ranges: Mapping[str, Interval], resolution: Resolution, loaded_at: Resolution
    ) -> Outcome:
        """Land ranges at another resolution beside what is loaded, without a cursor. See `plan_history`.

        Args:
            ranges: per instrument, bucket opens [start, end) in UTC ms.
            resolution: of the candles to land.
            loaded_at: the resolution that the instruments are loaded at.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        def plan(instrument: Instrument, cursor: Cursor, end_ms: int) -> list[Window]:
            return plan_history(instrument.name, resolution, cursor, end_ms, ranges[instrument.name])

        return self._run(list(ranges), resolution, plan, loaded_at=loaded_at)

    def _run(
        self,
        names: Sequence[str],
        resolution: Resolution,
        plan: Planner,
        reaches: Callable[[Instrument, Cursor], bool] = lambda _instrument, _cursor: False,
        loaded_at: Resolution | None = None,
        *,
        leaves_ended: bool = False,
    ) -> Outcome:
        with run_lock(self.database, wait_s=self.wait_s) as locked:
            check_server(locked)
            raw_tables.check_clock(locked, time.time())
            clock, exchange = self.client.server_time(), self.client.instruments()
            with open_pipeline(self.workdir, self.database, locked) as pipeline:
                check_source(loaded_source(pipeline.state), clock.source)
                loaded = loaded_instruments(pipeline.state, loaded_at or resolution)
                run = _Run(self, Packages(pipeline, locked), exchange, resolution, clock.result)
                windows = [
                    window
                    for instrument in run.find(names, loaded, reaches, leaves_ended=leaves_ended)
                    for window in plan(instrument, run.cursor(instrument.name), run.end_of(instrument))
                ]
                run.land(windows)
                run.land_ends()
            cleaning.prune(locked)
        raise_incomplete(run.outcome)
        return run.outcome


@dataclass(frozen=True)
class _Run:
    """A run under way: what it works with, and what it has done so far."""

    loader: Loader
    packages: Packages
    exchange: Listed
    resolution: Resolution
    now_ms: int
    outcome: Outcome = field(default_factory=Outcome)
    instruments: dict[str, Instrument] = field(default_factory=dict)

    def cursor(self, name: str) -> Cursor:
        """Return where an instrument stands."""
        return read_cursor(self.packages.pipeline.state, name, self.resolution)

    def end_of(self, instrument: Instrument) -> int:
        """Return until when an instrument has candles, UTC ms."""
        return min(self.now_ms, instrument.ended_ms or self.now_ms)

    def find(
        self,
        names: Sequence[str],
        loaded: Sequence[str],
        reaches: Callable[[Instrument, Cursor], bool],
        *,
        leaves_ended: bool,
    ) -> list[Instrument]:
        """Return the instruments of the run, since when and until when Deribit has candles of them.

        Args:
            names: as typed.
            loaded: what earlier runs loaded.
            reaches: whether candles from before a listing are wanted.
            leaves_ended: whether delisted perpetuals that are known to be whole are left as they are.

        Raises:
            UsageError: a name is not known, or there is none.
        """
        chosen, absent = choose(names, self.exchange.perpetuals, loaded)
        refused = self.exchange.refused
        self.outcome.refused += [refused[name] for name in refused if is_all(names) or name in absent]
        left = [name for name in absent if leaves_ended and self._has_ended(name)]
        early = [one for one in chosen if reaches(one, self.cursor(one.name))]
        first_days = find_first_days(self.loader.client, early)
        asked = [name for name in absent if name not in refused and name not in left]
        delisted = find_delisted(self.loader.client, asked, self.resolution, self.now_ms)
        expect_known(
            [name for name in delisted.unknown if name not in loaded],
            [one.name for one in self.exchange.perpetuals],
        )
        self.outcome.unlisted += sorted([*left, *delisted.unknown])
        self.outcome.delisted |= {one.name: one.ended_ms or 0 for one in delisted.found}
        self.outcome.failed += [*first_days.failed, *delisted.failed]
        self.outcome.planned += len(self.outcome.failed)
        found = [*(one for one in chosen if one not in early), *first_days.found, *delisted.found]
        self.instruments.update({one.name: one for one in found})
        return found

    def _has_ended(self, name: str) -> bool:
        ended_ms = ended_instruments(self.packages.pipeline.state).get(name)
        return ended_ms is not None and self._is_at(name, ended_ms)

    def _is_at(self, name: str, end_ms: int) -> bool:
        """Tell whether all candles of an instrument up to a time have landed, as far as its cursor knows."""
        cursor = self.cursor(name)
        return (cursor.last_ms or 0) + self.resolution.step_ms >= end_ms and not cursor.owed

    def land(self, windows: Sequence[Window]) -> None:
        """Fetch and land windows, package by package."""
        progress = self.loader.progress
        # by time, so that a package of several instruments fills chunks of its own
        windows = sorted(windows, key=lambda window: window.start_ms)
        self.outcome.planned += len(windows)
        progress.planned(len(windows))
        with Prefetcher(self._fetch, windows, stop=self.loader.client.stop) as prefetcher:
            for package in packages(windows, self.loader.package_candles):
                answers = self._marked(prefetcher.take(len(package)))
                sent = sum(answered.landing for answered in answers)
                self.outcome.add(answers)  # a package that does not land ends the run with an error
                listed, lookback = self.exchange.perpetuals, self.loader.lookback
                source = deribit(answers, listed, self.now_ms, lookback)
                answers.clear()  # so that the source alone holds the candles, and lets go of them
                within = min(window.start_ms for window in package), max(window.end_ms for window in package)
                self.packages.land(source, sent, within)
                progress.landed(sent)
                self.loader.landed(sent)

    def land_ends(self) -> None:
        """Land when delisted perpetuals ended, once all of them is there, so that updates leave them."""
        known = ended_instruments(self.packages.pipeline.state)
        ended = [
            one
            for one in self.instruments.values()
            if one.ended_ms is not None
            and one.ended_ms != known.get(one.name)
            and is_settled(one.ended_ms, self.now_ms)
            and self._is_at(one.name, one.ended_ms)
        ]
        if ended:
            listed = [*self.exchange.perpetuals, *ended]
            self.packages.land(deribit([], listed, self.now_ms, self.loader.lookback), 0, (0, 0))
            self.loader.landed(0)

    def _marked(self, answers: Sequence[Answer]) -> list[Answer]:
        state, resolution = self.packages.pipeline.state, answers[0].window.resolution
        with one_line_errors("compare candles with those landed before"):
            return mark(answers, landed_ranges(state, resolution), self.packages.locked)

    def _fetch(self, window: Window) -> Answer:
        answered = answer(self.loader.client, window, self.instruments[window.instrument].created_ms)
        self.loader.progress.fetched(answered.candles.num_rows)
        return answered
