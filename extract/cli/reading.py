"""Commands that read: the report, the listed instruments, dbt."""

from __future__ import annotations

import argparse
from pathlib import Path

from extract.cli.shared import client, database, waiting, without_dashes
from extract.core.times import format_time
from extract.database.watchdog import watched
from extract.errors import UsageError
from extract.report.evidence import Evidence, write_report
from extract.report.findings import KINDS
from extract.settings import Settings
from extract.transform.runner import BuildResult, base_variables, open_dbt, run_dbt


def report(args: argparse.Namespace, settings: Settings) -> int:
    """Write the evidence files and the page."""
    print_report(write_report(database(settings), Path(args.out)))
    return 0


def instruments(_args: argparse.Namespace, settings: Settings) -> int:
    """List the perpetuals."""
    for found in client(settings).instruments().perpetuals:
        print(
            f"{found.name:<28} {found.instrument_type or '':<9} {found.base_currency or '':<10} "
            f"{found.quote_currency or '':<6} listed {format_time(found.created_ms)}"
        )
    return 0


def dbt(args: argparse.Namespace, settings: Settings) -> int:
    """Run dbt."""
    arguments = without_dashes(args.arguments)
    if not arguments:
        raise UsageError("expected dbt arguments after --, such as: perps dbt -- build")
    wait_s, reached = waiting(args), database(settings)
    with watched(reached):
        return 0 if run_dbt(arguments, reached, settings.dbt, wait_s) else 1


def build(args: argparse.Namespace, settings: Settings) -> BuildResult:
    """Build and test the models; return what came of it."""
    arguments = ["build", "--exclude-resource-type", "unit_test", *base_variables(args.resolution)]
    arguments += ["--select", *args.select] if args.select else []
    wait_s, reached = waiting(args), database(settings)
    with watched(reached), open_dbt(reached, settings.dbt, wait_s) as dbt:
        return dbt.result(arguments)


def print_report(evidence: Evidence) -> None:
    """Say what was found and written."""
    counts = ", ".join(f"{evidence.counts[kind.name]:,} {kind.label}" for kind in KINDS)
    print(f"{evidence.candles:,} candles, {counts}")
    for path in evidence.files:
        print(path)
