"""`perps audit`: recompute everything that is checked from every candle."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.shared import REREAD, database, waiting
from extract.settings import Settings
from extract.transform.models import read_resolution
from extract.transform.runner import base_variables, run_dbt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps audit`."""
    flags.wait(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Have dbt recompute everything from all candles and compare.

    Raises:
        PerpsError: something differs.
    """
    wait_s, of = waiting(args), database(settings)
    base = read_resolution(of)
    command = ["test", "--select", "tag:audit", *base_variables(base.name, audit=True)]
    run_dbt(command, of, settings.dbt, wait_s, advice=f"run: {REREAD}, then: perps dbt -- build")
    print("audit passed")
    return 0
