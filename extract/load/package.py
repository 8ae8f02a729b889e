"""dlt's part of a run: a pipeline with the state of the database, and one load package at a time.

The database alone says what is loaded. A run begins with an empty working folder and the state that dlt keeps
in the database; the package of a killed run is dropped and its windows are asked again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dlt
import psycopg2
import pyarrow as pa
from dlt.common.exceptions import DltException
from dlt.common.pipeline import LoadInfo
from dlt.destinations import postgres
from psycopg2.extensions import connection as PgConnection

from extract.core.advice import advice
from extract.core.ranges import TimeRange
from extract.database import cleaning, raw_tables
from extract.database.database import PATIENCE, Database
from extract.database.locks import expect_lock
from extract.errors import PerpsError, interrupt_behind
from extract.load.own_settings import dlt_settings
from extract.load.state import SOURCE

log = logging.getLogger(__name__)


@contextmanager
def open_pipeline(workdir: Path, database: Database, locked: PgConnection) -> Iterator[dlt.Pipeline]:
    """Yield a pipeline with the state of the database; its working folder outlives only a failure.

    Args:
        workdir: folder for dlt's working files; one sub-folder a database.
        database: where to land.
        locked: the connection that holds the run lock.

    Raises:
        PerpsError: the state cannot be read, or dlt cannot use this user and password.
    """
    folder = workdir / raw_tables.database_key(locked)
    cleaning.sweep(locked)
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
    # dlt wants a password even where libpq found it in ~/.pgpass, or needed none
    password = database.password or locked.info.password or "none"
    _expect_no_spaces(database.user, password)
    with dlt_settings(folder):
        pipeline = dlt.pipeline(
            SOURCE,
            pipelines_dir=str(folder),
            destination=postgres(replace(database, password=password).url(PATIENCE), create_indexes=False),
            dataset_name=raw_tables.DATASET,
        )
        with one_line_errors("read the state of earlier loads"):
            pipeline.sync_destination()
        yield pipeline
        pipeline.deactivate()
    shutil.rmtree(folder, ignore_errors=True)


def _expect_no_spaces(user: str, password: str) -> None:
    """Refuse what dlt puts into an address unquoted: its driver would fail, and repeat the password.

    Raises:
        PerpsError: there is white space in the user or the password.
    """
    if any(sign.isspace() for sign in user + password):
        raise PerpsError(
            "expected a database user and password without spaces, which dlt's driver refuses, got some; "
            "give the role another password, or use another role"
        )


@dataclass
class Packages:
    """Lands the load packages of a run.

    Attributes:
        pipeline: with nothing pending.
        locked: the connection that holds the run lock.
        prepared: whether this run has seen the raw tables as they should be.
    """

    pipeline: dlt.Pipeline
    locked: PgConnection
    prepared: bool = False

    def land(self, source: Any, sent: int, time_range: TimeRange) -> None:
        """Land one package, and make sure that the database holds every candle of it.

        Between normalize and load the empty raw tables are made, so that `candles` is a hypertable before its
        first row.

        Args:
            source: what to land.
            sent: candles that the source lands: those that are new or changed.
            time_range: bucket opens [start, end) of all windows in it, UTC ms.

        Raises:
            PerpsError: the package could not be loaded whole.
        """
        with one_line_errors("load a package"):
            self.pipeline.extract(source, loader_file_format="parquet")
            self.pipeline.normalize()
            if not self.prepared:
                self.pipeline.sync_schema()
                self.prepared = raw_tables.prepare(self.locked)
            expect_lock(self.locked)
            info = self._load()
            ids = info.loads_ids
            landed = sum(raw_tables.candles_in_load(self.locked, load_id, time_range) for load_id in ids)
        pa.default_memory_pool().release_unused()
        if landed != sent:
            raw_tables.void_load(self.locked, info.loads_ids)
            raise PerpsError(
                f"expected {sent} candles in load {', '.join(info.loads_ids)}, found {landed}; "
                "that load does not count, run the same command again and report this"
            )
        raw_tables.summarize(self.locked)  # a build that goes on meanwhile looks for this load

    def _load(self) -> LoadInfo:
        """Load what is normalized.

        Raises:
            PerpsError: a newer load is complete; this one stays unfinished, and the next run deletes it.
        """
        load_ids = self.pipeline.list_normalized_load_packages()
        raw_tables.announce(self.locked, load_ids)
        try:
            return self.pipeline.load()
        except DltException as error:
            if getattr(root_cause(error), "pgcode", None) != raw_tables.REFUSED:
                raise
            said = str(root_cause(error)).splitlines()[0]
            raise PerpsError(
                f"expected load {', '.join(load_ids)} to become complete, got: {said}; another load ran "
                "beside this one, or this machine's clock went back; nothing of it counts, "
                "run the same command again to ask for the same windows"
            ) from error


def root_cause(error: BaseException) -> BaseException:
    """Return what an error began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def one_line_errors(doing: str) -> Iterator[None]:
    """Turn dlt's failures into one line that names the root cause. The log file keeps the whole story."""
    try:
        yield
    except (DltException, psycopg2.Error) as error:
        if told := interrupt_behind(error):
            raise told from None
        cause = root_cause(error)
        log.exception("could not %s", doing)
        reason = " ".join(str(cause).split())[:300]
        raise PerpsError(
            f"expected to {doing}, got {type(cause).__name__}: {reason}; {advice(cause)}"
        ) from error
