"""Commands that do it all: run and demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from extract.cli.demo import run_demo
from extract.cli.loading import loading, update
from extract.cli.mending import repair_gaps
from extract.cli.reading import print_report
from extract.cli.shared import database, waiting
from extract.core.messages import one_line
from extract.database.connection import Connection
from extract.database.watchdog import watched
from extract.errors import PerpsError, UsageError
from extract.load.result import IncompleteError
from extract.report.evidence import write_report
from extract.settings import Settings
from extract.transform.background import Builder
from extract.transform.runner import base_variables


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Update, build, keep up, report; a part that fails does not keep the others from what they can do."""
    failures: dict[str, PerpsError] = {}
    wait_s, reached = waiting(args), database(settings)

    def attempt(part: str, do: Callable[[], object]) -> object:
        failures.pop(part, None)
        try:
            return do()
        except UsageError:
            raise
        except PerpsError as error:
            failures[part] = error
            return error.outcome.landed if isinstance(error, IncompleteError) else False

    with Builder(reached, settings.dbt, base_variables(args.resolution), wait_s) as builder:
        attempt("update", lambda: update(args, settings, builder.landed))
        attempt("build", lambda: _build(builder, reached))
        if args.repair and attempt("repair", lambda: _repair(args, settings)):
            attempt("build", lambda: _build(builder, reached))
        attempt("upkeep", lambda: _keep_up(builder, reached))
    if args.report:
        attempt("report", lambda: print_report(write_report(reached, Path(args.out))))
    first, *later = failures.values() or [None]
    for error in later:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
    if first:
        raise first
    return 0


def _repair(args: argparse.Namespace, settings: Settings) -> bool:
    """Ask for the gaps that the build found; tell whether that landed anything to build."""
    with loading(args, settings) as loader:
        return repair_gaps(loader)


def _build(builder: Builder, reached: Connection) -> None:
    """Run dbt build, without the unit tests: they test the models on made-up rows, not the table.

    Loads are watched by themselves, and with them the builds beside them.

    Raises:
        PerpsError: a model or test failed.
    """
    with watched(reached):
        builder.run(["build", "--exclude-resource-type", "unit_test"])


def _keep_up(builder: Builder, reached: Connection) -> None:
    """Compress and merge what is old enough, and set what the tables are to have.

    Raises:
        PerpsError: something of it failed.
    """
    with watched(reached):
        builder.run(
            ["--quiet", "run-operation", "upkeep"],
            "every candle is safe, try: perps dbt -- run-operation upkeep",
        )


def demo(args: argparse.Namespace, settings: Settings) -> int:
    """Show the whole flow on synthetic candles."""
    run_demo(settings, Path(args.out) / "demo", print)
    return 0
