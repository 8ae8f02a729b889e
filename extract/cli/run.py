"""`perps run`: update, build, keep up, report; the command to schedule."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from extract.cli import flags, update
from extract.cli.loading import loading
from extract.cli.repair import repair_gaps
from extract.cli.report import print_report
from extract.cli.shared import database, waiting
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
    """Say what can be typed after `perps run`."""
    parser.add_argument(
        "--repair",
        action="store_true",
        help="then repair gaps, as perps repair does, and build again",
    )
    parser.add_argument("--no-report", dest="report", action="store_false", help="do not write a report")
    flags.selection(parser, "default: every instrument already loaded")
    flags.lookback(parser)
    flags.load(parser)
    flags.out(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Update, build, keep up, report; a part that fails does not keep the others from what they can do."""
    failures: dict[str, PerpsError] = {}
    wait_s, to = waiting(args), database(settings)

    def attempt(part: str, do: Callable[[], object]) -> object:
        failures.pop(part, None)
        try:
            return do()
        except UsageError:
            raise
        except PerpsError as error:
            failures[part] = error
            return error.result.landed if isinstance(error, IncompleteError) else False

    with Builder(to, settings.dbt, base_variables(args.resolution), wait_s) as builder:
        attempt("update", lambda: update.run(args, settings, builder.landed))
        attempt("build", lambda: _build(builder, to))
        if args.repair and attempt("repair", lambda: _repair(args, settings)):
            attempt("build", lambda: _build(builder, to))
        attempt("upkeep", lambda: _keep_up(builder, to))
    if args.report:
        attempt("report", lambda: print_report(write_report(to, Path(args.out))))
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


def _build(builder: Builder, to: Database) -> None:
    """Run dbt build, without the unit tests: they test the models on made-up rows, not the table.

    Loads are watched by themselves, and with them the builds beside them.

    Raises:
        PerpsError: a model or test failed.
    """
    with watched(to):
        builder.run(["build", "--exclude-resource-type", "unit_test"])


def _keep_up(builder: Builder, to: Database) -> None:
    """Compress and merge what is old enough, and set what the tables are to have.

    Raises:
        PerpsError: something of it failed.
    """
    with watched(to):
        builder.run(
            ["--quiet", "run-operation", "upkeep"],
            "every candle is safe, try: perps dbt -- run-operation upkeep",
        )
