"""`perps run`: update, build, maintain the tables, report; the command to schedule."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from extract.cli import flags, update
from extract.cli.loading import loading
from extract.cli.repair import repair_gaps
from extract.cli.report import print_report
from extract.cli.shared import waiting
from extract.core.messages import one_line
from extract.database.database import Database
from extract.database.watchdog import watched
from extract.errors import PerpsError, UsageError
from extract.load.result import IncompleteError
from extract.report.evidence import write_report
from extract.settings import Settings
from extract.transform.background import Builder
from extract.transform.runner import base_variables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps run`."""
    parser.add_argument(
        "--repair",
        action="store_true",
        help="after the build, fetch gaps as perps repair does, and build again",
    )
    parser.add_argument("--no-report", dest="report", action="store_false", help="do not write a report")
    flags.selection(parser, "default: every instrument already loaded")
    flags.lookback(parser)
    flags.load(parser)
    flags.out(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Update, build, maintain the tables, report; if one step fails, the others still run."""
    failures: dict[str, PerpsError] = {}
    wait_s, database = waiting(args), settings.database()

    def attempt(part: str, do: Callable[[], object]) -> object:
        failures.pop(part, None)
        try:
            return do()
        except UsageError:
            raise
        except PerpsError as error:
            failures[part] = error
            return error.result.landed if isinstance(error, IncompleteError) else False

    with Builder(database, settings.dbt, base_variables(args.resolution), wait_s) as builder:
        attempt("update", lambda: update.run(args, settings, builder.landed))
        attempt("build", lambda: _build(builder, database))
        if args.repair and attempt("repair", lambda: _repair(args, settings)):
            attempt("build", lambda: _build(builder, database))
        attempt("upkeep", lambda: _keep_up(builder, database))
    if args.report:
        attempt("report", lambda: print_report(write_report(database, Path(args.out))))
    first, *later = failures.values() or [None]
    for error in later:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
    if first:
        raise first
    return 0


def _repair(args: argparse.Namespace, settings: Settings) -> bool:
    """Fetch the gaps that the build found; return whether there is anything new to build."""
    with loading(args, settings) as loader:
        return repair_gaps(loader)


def _build(builder: Builder, database: Database) -> None:
    """Run dbt build without the unit tests, which test the models on made-up rows and not the table.

    Loads have a watchdog of their own, which also covers the builds beside them.

    Raises:
        PerpsError: a model or test failed.
    """
    with watched(database):
        builder.run(["build", "--exclude-resource-type", "unit_test"])


def _keep_up(builder: Builder, database: Database) -> None:
    """Compress and merge old chunks, and apply the tables' settings.

    Raises:
        PerpsError: a step failed.
    """
    with watched(database):
        builder.run(
            ["--quiet", "run-operation", "upkeep"],
            "every candle is safe, try: perps dbt -- run-operation upkeep",
        )
