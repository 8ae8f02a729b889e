"""`perps report`: write the evidence files and the page."""

from __future__ import annotations

import argparse
from pathlib import Path

from extract.cli import flags
from extract.cli.shared import database
from extract.report.evidence import Evidence, write_report
from extract.report.findings import KINDS
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps report`."""
    flags.out(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Write the evidence files and the page."""
    print_report(write_report(database(settings), Path(args.out)))
    return 0


def print_report(evidence: Evidence) -> None:
    """Say what was found and written."""
    counts = ", ".join(f"{evidence.counts[kind.name]:,} {kind.label}" for kind in KINDS)
    print(f"{evidence.candles:,} candles, {counts}")
    for path in evidence.files:
        print(path)
