"""The loader: loads a given time range, new rows, gaps, or candles of another resolution."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from extract.core.names import is_all
from extract.core.ranges import TimeRange
from extract.core.resolution import RESOLUTIONS, Resolution
from extract.database import cleaning, raw_tables
from extract.database.database import Database
from extract.database.locks import run_lock
from extract.database.privileges import check_server
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Instrument, Listed
from extract.deribit.replies import Reply
from extract.load.endpoint import Endpoint, candles
from extract.load.package import Packages, open_pipeline
from extract.load.plan import (
    DEFAULT_LOAD_CANDLES,
    DEFAULT_LOOKBACK,
    Cursor,
    Series,
    Window,
    plan_history,
    plan_range,
    plan_repair,
    plan_update,
)
from extract.load.progress import RunProgress, Silent
from extract.load.result import LoadResult, raise_incomplete
from extract.load.run import Run
from extract.load.selection import check_origin, expect_closed, why_nothing
from extract.load.state import loaded_instruments, loaded_origin

Planner = Callable[[Instrument, Series], list[Window]]


@dataclass(frozen=True)
class Loader:
    """Everything that a load needs.

    Attributes:
        client: the Deribit client.
        database: the database to load into.
        workdir: folder for dlt's working files, with a sub-folder for each database.
        lookback: number of buckets to fetch again, up to and including the cursor's.
        progress: called after every window and every package.
        load_candles: most rows in a load; limits memory, and what must be fetched again after a kill.
        wait_s: how long to wait for another load to end, in seconds.
        pool: threads to fetch with, which keep their connections; None: each load starts its own.
        landed: called with the number of new or changed rows of each package once it is complete in the
            database.
    """

    client: DeribitClient
    database: Database
    workdir: Path
    lookback: int = DEFAULT_LOOKBACK
    progress: RunProgress = field(default_factory=Silent)
    load_candles: int = DEFAULT_LOAD_CANDLES
    wait_s: float = 0
    pool: ThreadPoolExecutor | None = None
    landed: Callable[[int], None] = lambda _rows: None

    def backfill(
        self, names: Sequence[str], endpoints: Sequence[Endpoint], time_range: TimeRange
    ) -> LoadResult:
        """Load a time range [start, end) in UTC ms, even if it was loaded before. See `plan_range`.

        Args:
            names: instruments, or `all`.
            endpoints: what to load, at least one.
            time_range: start inclusive, end exclusive.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        nothing: dict[str, str] = {}

        def plan(instrument: Instrument, series: Series) -> list[Window]:
            if series.endpoint == endpoints[0]:
                expect_closed(time_range, series)
            if why := why_nothing(time_range, instrument):
                nothing[instrument.name] = why
            return plan_range(series, time_range)

        def wants_earlier(instrument: Instrument, _cursors: Sequence[Cursor]) -> bool:
            return time_range[0] < instrument.created_ms

        result = self._run(names, endpoints, plan, wants_earlier)
        landed = {name for endpoint in endpoints for name, rows in result.of(endpoint.table).items() if rows}
        result.nothing = {name: why for name, why in nothing.items() if name not in landed}
        return result

    def update(self, names: Sequence[str], endpoints: Sequence[Endpoint]) -> LoadResult:
        """Load from each cursor to the last closed bucket. See `plan_update`.

        Args:
            names: instruments, `all`, or none for every instrument loaded before from the first endpoint.
            endpoints: what to load, at least one.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        def plan(_instrument: Instrument, series: Series) -> list[Window]:
            return plan_update(series, self.lookback)

        def wants_earlier(_instrument: Instrument, cursors: Sequence[Cursor]) -> bool:
            return Cursor() in cursors

        return self._run(names, endpoints, plan, wants_earlier, skips_ended=not names or is_all(names))

    def repair(self, holes: Mapping[Endpoint, Mapping[str, Sequence[TimeRange]]]) -> LoadResult:
        """Fetch gaps of the tables. See `plan_repair`.

        Args:
            holes: by endpoint and instrument, the missing bucket opens [start, end) in UTC ms.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        def plan(instrument: Instrument, series: Series) -> list[Window]:
            return plan_repair(series, holes[series.endpoint].get(instrument.name, []))

        names = dict.fromkeys(name for named in holes.values() for name in named)
        return self._run(list(names), list(holes), plan)

    def history(
        self, ranges: Mapping[str, TimeRange], resolution: Resolution, loaded_at: Resolution
    ) -> LoadResult:
        """Load time ranges at another resolution, without a cursor. See `plan_history`.

        Args:
            ranges: per instrument, bucket opens [start, end) in UTC ms.
            resolution: of the candles to land.
            loaded_at: the resolution that the instruments are loaded at.

        Raises:
            IncompleteError: some windows had no usable answer; the others are saved.
            PerpsError: nothing could be done.
        """

        def plan(instrument: Instrument, series: Series) -> list[Window]:
            return plan_history(series, ranges[instrument.name])

        return self._run(list(ranges), [candles(resolution)], plan, loaded_at=candles(loaded_at))

    def _clock_and_listing(self) -> tuple[Reply, Listed]:
        """Request Deribit's clock and its perpetuals, both at once if there is a pool of threads."""
        if self.pool is None:
            return self.client.server_time(), self.client.instruments()
        listing = self.pool.submit(self.client.instruments)
        return self.client.server_time(), listing.result()

    def _run(
        self,
        names: Sequence[str],
        endpoints: Sequence[Endpoint],
        plan: Planner,
        wants_earlier: Callable[[Instrument, Sequence[Cursor]], bool] = lambda _instrument, _cursors: False,
        loaded_at: Endpoint | None = None,
        *,
        skips_ended: bool = False,
    ) -> LoadResult:
        with run_lock(self.database, wait_s=self.wait_s) as locked:
            check_server(locked)
            raw_tables.check_clock(locked, time.time())
            clock, exchange = self._clock_and_listing()
            with open_pipeline(self.workdir, self.database, locked) as pipeline:
                state = pipeline.state
                check_origin(loaded_origin(state), clock.origin)
                loaded = loaded_instruments(state, loaded_at or endpoints[0])
                packages = Packages(pipeline, locked)
                run = Run(self, packages, exchange, endpoints, _ending(endpoints), clock.result, state)
                windows = [
                    window
                    for instrument in run.find(names, loaded, wants_earlier, skips_ended=skips_ended)
                    for endpoint in endpoints
                    for window in plan(instrument, run.series(instrument, endpoint))
                ]
                run.land(windows)
                run.land_ends()
            cleaning.prune(locked)
        raise_incomplete(run.result)
        return run.result


def _ending(endpoints: Sequence[Endpoint]) -> Resolution:
    """Return the resolution of the candles that show when a delisted perpetual ended."""
    return next((one.resolution for one in endpoints if one.has_resolution), RESOLUTIONS["1"])
