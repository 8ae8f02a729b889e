"""The dlt pipeline of a run, with the state of the database, and its load packages.

Only the database knows what is loaded. A run begins with an empty working folder and the state that dlt keeps
in the database; the package of a killed run is dropped and its windows are fetched again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
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
    """Yield a pipeline with the state of the database; its working folder is kept only after a failure.

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
    # dlt needs a password even if libpq read it from ~/.pgpass, or needed none
    password = database.password or locked.info.password or "none"
    _expect_no_spaces(database.user, password)
    with dlt_settings(folder):
        pipeline = dlt.pipeline(
            SOURCE,
            pipelines_dir=str(folder),
            # no format selector: it would look for the ADBC driver, which is always installed, and leak 15 kB
            destination=postgres(
                replace(database, password=password).url(PATIENCE),
                create_indexes=False,
                loader_file_format_selector=None,
            ),
            dataset_name=raw_tables.DATASET,
        )
        with one_line_errors("read the state of earlier loads"):
            pipeline.sync_destination()
        yield pipeline
        pipeline.deactivate()
    shutil.rmtree(folder, ignore_errors=True)


def _expect_no_spaces(user: str, password: str) -> None:
    """Refuse spaces: dlt puts them into a URL unquoted, so that its driver would fail and print the password.

    Raises:
        PerpsError: the user or the password contains white space.
    """
    if any(sign.isspace() for sign in user + password):
        raise PerpsError(
            "the database user or password contains spaces, which dlt's driver refuses; "
            "give the role another password, or use another role"
        )


@dataclass
class Packages:
    """Lands the load packages of a run.

    Attributes:
        pipeline: the pipeline, with nothing pending.
        locked: the connection that holds the run lock.
        prepared: whether this run has checked that the raw tables are complete.
    """

    pipeline: dlt.Pipeline
    locked: PgConnection
    prepared: bool = False

    def land(self, source: Any, sent: int, spans: Mapping[str, TimeRange]) -> None:
        """Land one package, and make sure that the database holds all its rows.

        The raw tables are created between normalize and load, so that they are hypertables before they have a
        row.

        Args:
            source: the dlt source to land.
            sent: number of rows that the source lands, which are new or changed.
            spans: by raw table, the times [start, end) of all windows in it, UTC ms.

        Raises:
            PerpsError: the package could not be loaded completely.
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
            landed = sum(raw_tables.rows_in_load(self.locked, load_id, spans) for load_id in ids)
        pa.default_memory_pool().release_unused()
        if landed != sent:
            raw_tables.void_load(self.locked, info.loads_ids)
            raise PerpsError(
                f"load {', '.join(info.loads_ids)} has {landed} rows instead of {sent}; "
                "that load does not count, run the same command again and report this"
            )
        raw_tables.summarize(self.locked)  # a build at the same time reads this load

    def _load(self) -> LoadInfo:
        """Load the normalized package.

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
            message = str(root_cause(error)).splitlines()[0]
            raise PerpsError(
                f"load {', '.join(load_ids)} cannot become complete: {message}; another load ran at the same "
                "time, or this machine's clock was set back; this load does not count, "
                "run the same command again to fetch the same windows"
            ) from error


def root_cause(error: BaseException) -> BaseException:
    """Return the first error in an error's chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def one_line_errors(doing: str) -> Iterator[None]:
    """Turn a failure of dlt or psycopg2 into one line that names its root cause; the log has the traceback.

    Args:
        doing: what failed, as it continues "could not".

    Raises:
        PerpsError: that failure.
    """
    try:
        yield
    except (DltException, psycopg2.Error) as error:
        if interrupt := interrupt_behind(error):
            raise interrupt from None
        cause = root_cause(error)
        log.exception("could not %s", doing)
        reason = " ".join(str(cause).split())[:300]
        raise PerpsError(f"could not {doing}: {type(cause).__name__}: {reason}; {advice(cause)}") from error
