"""`perps dbt`: run dbt with the connection set up."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.shared import waiting, without_dashes
from extract.database.watchdog import watched
from extract.errors import UsageError
from extract.settings import Settings
from extract.transform.failures import BuildResult, NodesFailedError
from extract.transform.runner import BUILD, base_variables, run_dbt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps dbt`."""
    flags.wait(parser)
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="arguments for dbt"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run dbt."""
    arguments = without_dashes(args.arguments)
    if not arguments:
        raise UsageError("expected dbt arguments after --, such as: perps dbt -- build")
    wait_s, database = waiting(args), settings.database()
    with watched(database):
        run_dbt(arguments, database, settings.dbt, wait_s)
    return 0


def build(args: argparse.Namespace, settings: Settings) -> BuildResult:
    """Build and test the models; return whether that succeeded, and what failed."""
    arguments = [*BUILD, *base_variables(args.resolution)]
    arguments += ["--select", *args.select] if args.select else []
    wait_s, database = waiting(args), settings.database()
    try:
        with watched(database):
            run_dbt(arguments, database, settings.dbt, wait_s)
    except NodesFailedError as error:
        return BuildResult(success=False, failed=error.failed)
    return BuildResult(success=True)
