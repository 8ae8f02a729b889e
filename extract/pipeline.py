"""One run of the dlt pipeline: plan, fetch ahead, and land load packages one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract import cleaning, landing
from extract.compare import mark
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Instrument
from extract.fetching import Answer, Prefetcher, answer
from extract.locks import run_lock
from extract.outcome import Outcome, raise_incomplete
from extract.packaging import Packages, one_line_errors, open_pipeline
from extract.progress import RunProgress, Silent
from extract.resolution import Resolution
from extract.rights import check_server
from extract.selection import check_source, choose, is_all
from extract.server.connection import Connection
from extract.settings import DEFAULT_LOOKBACK, DEFAULT_PACKAGE
from extract.source import deribit
from extract.state import landed_ranges, loaded_instruments, loaded_source, read_cursor
from extract.windows import (
    Cursor,
    Interval,
    Window,
    earliest_start,
    packages,
    plan_history,
    plan_range,
    plan_reach_back,
    plan_repair,
    plan_update,
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

        def plan(instrument: Instrument, cursor: Cursor, now_ms: int) -> list[Window]:
            return plan_range(instrument.name, resolution, cursor, instrument.created_ms, now_ms, wanted)

        return self._run(names, resolution, plan, reach_ms=wanted[0])

    def update(self, names: Sequence[str], resolution: Resolution) -> Outcome:
        """Land from each cursor to the last closed candle. See `plan_update`.

        Args:
            names: instruments, `all`, or none for every instrument loaded before.
            resolution: of the candles.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        def plan(instrument: Instrument, cursor: Cursor, now_ms: int) -> list[Window]:
            created = instrument.created_ms
            return plan_update(instrument.name, resolution, cursor, created, now_ms, self.lookback)

        return self._run(names, resolution, plan, reach_ms=0)

    def repair(self, holes: Mapping[str, Sequence[Interval]], resolution: Resolution) -> Outcome:
        """Ask again for holes in the table. See `plan_repair`.

        Args:
            holes: per instrument, the missing bucket opens [start, end) in UTC ms.
            resolution: of the candles.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        def plan(instrument: Instrument, _cursor: Cursor, now_ms: int) -> list[Window]:
            return plan_repair(instrument.name, resolution, now_ms, holes.get(instrument.name, ()))

        return self._run([], resolution, plan)

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

        def plan(instrument: Instrument, cursor: Cursor, now_ms: int) -> list[Window]:
            wanted = ranges.get(instrument.name)
            return plan_history(instrument.name, resolution, cursor, now_ms, wanted) if wanted else []

        return self._run([], resolution, plan, loaded_at=loaded_at)

    def _run(
        self,
        names: Sequence[str],
        resolution: Resolution,
        plan: Planner,
        reach_ms: int | None = None,
        loaded_at: Resolution | None = None,
    ) -> Outcome:
        with run_lock(self.database, wait_s=self.wait_s) as locked:
            check_server(locked)
            landing.check_clock(locked, time.time())
            clock, (listed, refused) = self.client.server_time(), self.client.instruments()
            with open_pipeline(self.workdir, self.database, locked) as pipeline:
                check_source(loaded_source(pipeline.state), clock.source)
                loaded = loaded_instruments(pipeline.state, loaded_at or resolution)
                chosen, unlisted = choose(names, listed, loaded)
                windows = [
                    window
                    for instrument in chosen
                    for window in plan(
                        instrument, read_cursor(pipeline.state, instrument.name, resolution), clock.result
                    )
                ]
                outcome = Outcome(unlisted=unlisted, refused=refused if is_all(names) else [])
                run = _Run(self, Packages(pipeline, locked), listed, clock.result, outcome)
                early = run.land(windows)
                while early and reach_ms is not None:
                    early = run.land([back for window in early for back in plan_reach_back(window, reach_ms)])
            cleaning.prune(locked)
        raise_incomplete(run.outcome)
        return run.outcome


@dataclass(frozen=True)
class _Run:
    """A run under way: what it works with, and what it has done so far."""

    loader: Loader
    packages: Packages
    listed: Sequence[Instrument]
    seen_ms: int
    outcome: Outcome

    def land(self, windows: Sequence[Window]) -> list[Window]:
        """Fetch and land windows, package by package; return those with candles from before listing."""
        progress, early = self.loader.progress, []
        # by time, so that a package of several instruments fills chunks of its own
        windows = sorted(windows, key=lambda window: window.start_ms)
        self.outcome.planned += len(windows)
        progress.planned(self.outcome.planned)
        with Prefetcher(self._fetch, windows, stop=self.loader.client.stop) as prefetcher:
            for package in packages(windows, self.loader.package_candles):
                answers = self._marked(prefetcher.take(len(package)))
                sent = sum(answered.landing for answered in answers)
                early += [answered.window for answered in answers if self._before_listing(answered)]
                self.outcome.add(answers)  # a package that does not land ends the run with an error
                source = deribit(answers, self.listed, self.seen_ms, self.loader.lookback)
                answers.clear()  # so that the source alone holds the candles, and lets go of them
                within = min(window.start_ms for window in package), max(window.end_ms for window in package)
                self.packages.land(source, sent, within)
                progress.landed(sent)
                self.loader.landed(sent)
        return early

    def _marked(self, answers: Sequence[Answer]) -> list[Answer]:
        state, resolution = self.packages.pipeline.state, answers[0].window.resolution
        with one_line_errors("compare candles with those landed before"):
            return mark(answers, landed_ranges(state, resolution), self.packages.locked)

    def _fetch(self, window: Window) -> Answer:
        answered = answer(self.loader.client, window, self._listed_ms(window.instrument))
        self.loader.progress.fetched(answered.candles.num_rows)
        return answered

    def _before_listing(self, answered: Answer) -> bool:
        """Tell whether a window that begins where history should not hold candles has some."""
        window = answered.window
        earliest = earliest_start(window.resolution, self._listed_ms(window.instrument))
        return answered.candles.num_rows > 0 and window.start_ms <= earliest

    def _listed_ms(self, name: str) -> int:
        return next(found.created_ms for found in self.listed if found.name == name)
