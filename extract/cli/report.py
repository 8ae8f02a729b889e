"""`perps report`: write the page, and its data as CSV and text files."""

from __future__ import annotations

import argparse
from pathlib import Path

from extract.cli import flags
from extract.report.evidence import Evidence, write_report
from extract.report.findings import KINDS
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps report`."""
    flags.out(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Write the report; print what was found and written."""
    print_report(write_report(settings.database(), Path(args.out)))
    return 0


def print_report(evidence: Evidence) -> None:
    """Print the number of findings of each kind, and the paths of the files."""
    counts = ", ".join(f"{evidence.counts[kind.name]:,} {kind.label}" for kind in KINDS)
    print(f"{evidence.candles:,} candles, {counts}")
    for path in evidence.files:
        print(path)
