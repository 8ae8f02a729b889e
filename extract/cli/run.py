"""`perps run`: update, build, maintain the tables, report; once, or every minute in a process that stays."""

from __future__ import annotations

import argparse
import sys

from extract.cli import flags
from extract.cli.loading import make_loader, share_memory
from extract.cli.staying import stay
from extract.cli.steps import Steps
from extract.core.messages import one_line
from extract.core.schedule import PERIODS
from extract.errors import UsageError
from extract.settings import Settings
from extract.transform.background import Builder
from extract.transform.runner import base_variables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps run`."""
    parser.add_argument(
        "--every",
        metavar="TIME",
        help="keep running: load and build new rows at this interval, such as 60s or 5m, and build and test "
        "everything once an hour",
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="with --every: how long after each interval ends, by Deribit's clock, to begin (default: 200ms)",
    )
    parser.add_argument(
        "--repair",
        nargs="?",
        choices=PERIODS,
        const="daily",
        help="after the build, fetch gaps as perps repair does, and build again; "
        "with --every: how often (default: daily)",
    )
    parser.add_argument(
        "--report", choices=PERIODS, help="with --every: how often to write the report (default: daily)"
    )
    parser.add_argument(
        "--no-report", dest="report", action="store_const", const="never", help="do not write a report"
    )
    parser.add_argument(
        "--metrics",
        metavar="[ADDRESS:]PORT",
        help="with --every: serve metrics for Prometheus on this port (default address: 127.0.0.1)",
    )
    flags.selection(parser, "default: every instrument already loaded")
    flags.only(parser, "load")
    flags.lookback(parser)
    flags.load(parser)
    flags.out(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Update, build, maintain the tables, report; if one step fails, the others still run."""
    if args.every:
        return stay(args, settings)
    for flag in ("at", "metrics"):
        if getattr(args, flag):
            raise UsageError(f"--{flag} needs --every; add it, such as --every 60s")
    loader = make_loader(args, settings)
    share_memory()
    variables = base_variables(args.resolution)
    with Builder(loader.database, settings.dbt, variables, loader.wait_s) as builder:
        steps = Steps(args, loader, builder)
        steps.update()
        steps.build()
        if args.repair not in (None, "never"):
            steps.repair()
        steps.keep_up()
    if args.report != "never":
        steps.report()
    first, *later = steps.failures.values() or [None]
    for error in later:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
    if first:
        raise first
    return 0
