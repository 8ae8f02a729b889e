"""The steps of `perps run`: update, build, repair, upkeep, report. The others run even if one fails."""

from __future__ import annotations

import logging
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from extract.cli.loading import chosen_endpoints, print_result
from extract.cli.main import unexpected
from extract.cli.repair import repair_gaps
from extract.cli.report import print_report
from extract.core.names import ENDPOINTS, TABLES, split_names
from extract.database.watchdog import watched
from extract.errors import PerpsError, UsageError, interrupt_behind
from extract.load.loader import Loader
from extract.load.progress import RunProgress, Silent, shown_progress
from extract.load.result import IncompleteError, LoadResult
from extract.report.evidence import write_report
from extract.transform.background import Builder
from extract.transform.runner import BUILD

log = logging.getLogger(__name__)

MINUTE = ("--no-write-json", "--no-populate-cache", "build", "--indirect-selection", "empty", "--select")
"""dbt's arguments to build what a closed minute changes, and to run the tests with the tag `minute`.

A full cache would cost a look at every schema and at the dependencies of every view. Without it, dbt lists a
schema when a model first asks for one of its relations.
"""


@dataclass
class Steps:
    """The steps, and how they ended.

    Attributes:
        args: the flags of `perps run`.
        loader: loads.
        builder: builds.
        ended: called after each step with its name, its seconds and its failure.
        failures: by step, why its last try failed.
        quiet: whether the steps print only errors.
    """

    args: Namespace
    loader: Loader
    builder: Builder
    ended: Callable[[str, float, PerpsError | None], None] = lambda _step, _seconds, _error: None
    failures: dict[str, PerpsError] = field(default_factory=dict)
    quiet: bool = False

    def update(self, only: Sequence[str] = ENDPOINTS, step: str = "update") -> LoadResult | None:
        """Load what is new; return the result, also of a partial load; None if the load failed otherwise.

        Args:
            only: the endpoints to load, of those that the flags choose.
            step: the name of the step.
        """
        names = split_names(self.args.instruments)
        endpoints = [one for one in chosen_endpoints(self.args) if one.table in only]
        if not endpoints:
            return LoadResult()
        results = list[LoadResult]()

        def load() -> None:
            with self._progress() as progress:
                loader = replace(self.loader, landed=self.builder.landed, progress=progress)
                results.append(loader.update(names, endpoints))
            if not self.quiet:
                print_result(results[0])

        self.attempt(step, load)
        failure = self.failures.get(step)
        return failure.result if isinstance(failure, IncompleteError) else next(iter(results), None)

    def build_minute(self, landed: Sequence[str], step: str) -> None:
        """Build and test what a closed minute changes.

        Args:
            landed: the endpoints of which rows have landed.
            step: the name of the step.
        """
        tables = [f"{TABLES[endpoint]}+,config.materialized:hypertable" for endpoint in landed]
        tests = ["tag:minute"] if "candles" in landed else []
        self.attempt(step, lambda: self.builder.run(["--quiet", *MINUTE, *tables, *tests]))

    def build(self) -> None:
        """Build and test everything."""
        self.attempt("build", lambda: self.builder.run(["--quiet", *BUILD] if self.quiet else BUILD))

    def repair(self) -> None:
        """Fetch the gaps that the build found, and build again if anything was loaded."""
        found = list[bool]()

        def fetch() -> None:
            try:
                with self._progress() as progress:
                    found.append(repair_gaps(replace(self.loader, progress=progress)))
            except IncompleteError as error:
                found.append(error.result.landed)
                raise

        self.attempt("repair", fetch)
        if any(found):
            self.build()

    def keep_up(self) -> None:
        """Compress and merge old chunks, and apply the tables' settings."""
        advice = "every candle is safe, try: perps dbt -- run-operation upkeep"
        upkeep = ["--quiet", "run-operation", "upkeep"]
        self.attempt("upkeep", lambda: self.builder.run(upkeep, advice))

    def report(self) -> None:
        """Write the report."""
        folder = Path(self.args.out)
        self.attempt("report", lambda: print_report(write_report(self.loader.database, folder)))

    def _progress(self) -> AbstractContextManager[RunProgress]:
        return nullcontext(Silent()) if self.quiet else shown_progress()

    def attempt(self, step: str, do: Callable[[], object]) -> None:
        """Run a step with a watchdog, and record how it ended.

        Raises:
            UsageError: the command cannot be carried out as typed.
            KeyboardInterrupt: a signal ended it.
        """
        began, failure = time.monotonic(), None
        try:
            with watched(self.loader.database):
                do()
        except UsageError:
            raise
        except PerpsError as error:
            failure = error
        except Exception as error:
            if interrupt := interrupt_behind(error):
                raise interrupt from None
            log.exception("unexpected failure", extra={"shown": True})
            failure = PerpsError(unexpected(error))
        self.failures.pop(step, None)
        if failure:
            self.failures[step] = failure
        self.ended(step, time.monotonic() - began, failure)
