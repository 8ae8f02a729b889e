"""What can be loaded: an explicit range, what is new, holes, ranges of another resolution."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract.core.names import is_all
from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution
from extract.database import cleaning, raw_tables
from extract.database.connection import Connection
from extract.database.locks import run_lock
from extract.database.privileges import check_server
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Instrument
from extract.load.package import Packages, open_pipeline
from extract.load.plan import (
    DEFAULT_LOOKBACK,
    DEFAULT_PACKAGE,
    Cursor,
    Window,
    plan_history,
    plan_range,
    plan_repair,
    plan_update,
)
from extract.load.progress import RunProgress, Silent
from extract.load.result import Outcome, raise_incomplete
from extract.load.run import Run
from extract.load.selection import check_source, expect_closed, why_nothing
from extract.load.state import loaded_instruments, loaded_source

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

    def backfill(self, names: Sequence[str], resolution: Resolution, wanted: TimeRange) -> Outcome:
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

    def repair(self, holes: Mapping[str, Sequence[TimeRange]], resolution: Resolution) -> Outcome:
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
        self, ranges: Mapping[str, TimeRange], resolution: Resolution, loaded_at: Resolution
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
                run = Run(self, Packages(pipeline, locked), exchange, resolution, clock.result)
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
