"""One run of the dlt pipeline: plan, fetch ahead, and land load packages one after the other.

The database alone says what is loaded. A run begins with an empty working folder and the state that dlt keeps
in the database; the package of a killed run is dropped and its windows are asked again.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dlt
import psycopg2
from dlt.common.pipeline import LoadInfo
from dlt.destinations import postgres
from dlt.pipeline.exceptions import PipelineStepFailed
from psycopg2.extensions import connection as PgConnection

from extract import landing
from extract.deribit.client import DeribitClient
from extract.deribit.instruments import Instrument
from extract.errors import PerpsError
from extract.fetching import Answer, Prefetcher, answer
from extract.outcome import Outcome, raise_incomplete
from extract.progress import RunProgress, Silent
from extract.resolution import Resolution
from extract.selection import check_source, choose
from extract.server.connection import Connection
from extract.settings import DEFAULT_LOOKBACK, DEFAULT_PACKAGE
from extract.source import SOURCE, deribit, loaded_instruments, loaded_source, read_cursor
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

log = logging.getLogger(__name__)

LOAD_ID = re.compile(r"\d{9,}\.\d+")
DLT_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "CRITICAL",  # failures come back as exceptions, and go to the log file as such
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
    "DATA_WRITER__DISABLE_COMPRESSION": "true",  # gzip was 70 % of normalize
}
"""dlt takes these from the environment only; they are set before its first pipeline is made."""

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
        landed: called with the candles of each package once it is complete in the database.
    """

    client: DeribitClient
    database: Connection
    workdir: Path
    lookback: int = DEFAULT_LOOKBACK
    progress: RunProgress = field(default_factory=Silent)
    package_candles: int = DEFAULT_PACKAGE
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
        with landing.run_lock(self.database) as locked:
            landing.check_server(locked)
            landing.check_clock(locked, time.time())
            clock, listed = self.client.server_time(), self.client.instruments()
            with self._open_pipeline(locked) as pipeline:
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
                run = _Run(self, pipeline, locked, listed, clock.result, Outcome(unlisted=unlisted))
                early = run.land(windows)
                while early and reach_ms is not None:
                    early = run.land([back for window in early for back in plan_reach_back(window, reach_ms)])
            landing.summarize(locked)
        raise_incomplete(run.outcome)
        return run.outcome

    @contextmanager
    def _open_pipeline(self, locked: PgConnection) -> Iterator[dlt.Pipeline]:
        """Yield a pipeline with the state of the database; its working folder outlives only a failure."""
        folder = self.workdir / landing.database_key(locked)
        os.environ.update(DLT_SETTINGS | {"DLT_DATA_DIR": str(folder)})
        landing.sweep(locked, leftover_loads(folder))
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
        # dlt wants a password even where libpq found it in ~/.pgpass, or needed none
        password = self.database.password or locked.info.password or "none"
        pipeline = dlt.pipeline(
            SOURCE,
            pipelines_dir=str(folder),
            destination=postgres(replace(self.database, password=password).url(), create_indexes=False),
            dataset_name=landing.DATASET,
        )
        with one_line_errors("read the state of earlier loads"):
            pipeline.sync_destination()
        yield pipeline
        pipeline.deactivate()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Run:
    """A run under way: what it works with, and what it has done so far."""

    loader: Loader
    pipeline: dlt.Pipeline
    locked: PgConnection
    listed: Sequence[Instrument]
    seen_ms: int
    outcome: Outcome

    def land(self, windows: Sequence[Window]) -> list[Window]:
        """Fetch and land windows, package by package; return those with candles from before listing."""
        progress, early = self.loader.progress, []
        self.outcome.planned += len(windows)
        progress.planned(self.outcome.planned)
        with Prefetcher(self._fetch, windows, stop=self.loader.client.stop) as prefetcher:
            for package in packages(windows, self.loader.package_candles):
                answers = prefetcher.take(len(package))
                sent = sum(answered.candles.num_rows for answered in answers)
                source = deribit(answers, self.listed, self.seen_ms, self.loader.lookback)
                load_package(self.pipeline, source, self.locked, sent)
                self.outcome.add(answers)
                progress.landed(sent)
                self.loader.landed(sent)
                early += [answered.window for answered in answers if self._before_listing(answered)]
        return early

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


def load_package(pipeline: dlt.Pipeline, source: Any, locked: PgConnection, sent: int) -> None:
    """Land one package, and make sure that the database holds every candle of it.

    Between normalize and load the empty raw tables are made, so that `candles` is a hypertable before its
    first row.

    Args:
        pipeline: with nothing pending.
        source: what to land.
        locked: the connection that holds the run lock.
        sent: candles in the source.

    Raises:
        PerpsError: the package could not be loaded whole.
    """
    with one_line_errors("load a package"):
        pipeline.extract(source, loader_file_format="parquet")
        pipeline.normalize()
        pipeline.sync_schema()
        landing.prepare(locked)
        info: LoadInfo = pipeline.load()
        landed = sum(landing.candles_in_load(locked, load_id) for load_id in info.loads_ids)
    if landed != sent:
        landing.void_load(locked, info.loads_ids)
        raise PerpsError(
            f"expected {sent} candles in load {', '.join(info.loads_ids)}, found {landed}; "
            "that load does not count, run the same command again and report this"
        )


@contextmanager
def one_line_errors(doing: str) -> Iterator[None]:
    """Turn dlt's failures into one line that names the root cause. The log file keeps the whole story."""
    try:
        yield
    except (PipelineStepFailed, psycopg2.Error) as error:
        log.exception("could not %s", doing)
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = " ".join(str(cause).split())[:300]
        raise PerpsError(
            f"expected to {doing}, got {type(cause).__name__}: {reason}; "
            "what was loaded before is safe, run the same command again"
        ) from error


def leftover_loads(folder: Path) -> list[str]:
    """Return the load packages that a killed run left in its working folder."""
    if not folder.is_dir():
        return []
    return sorted({path.name for path in folder.rglob("*") if LOAD_ID.fullmatch(path.name)})
