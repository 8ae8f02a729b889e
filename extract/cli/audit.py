"""`perps audit`: recompute all checked models from all candles and compare."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.shared import REREAD, waiting
from extract.settings import Settings
from extract.transform.models import read_resolution
from extract.transform.runner import base_variables, run_dbt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps audit`."""
    flags.wait(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Recompute all checked models from every candle, with dbt, and compare.

    Raises:
        PerpsError: a model differs.
    """
    wait_s, database = waiting(args), settings.database()
    base = read_resolution(database)
    command = ["test", "--select", "tag:audit", *base_variables(base.name, audit=True)]
    run_dbt(
        command,
        database,
        settings.dbt,
        wait_s,
        advice=f"run: {REREAD.format('perpetuals_ohlcv')}, then: perps dbt -- build",
    )
    print("audit passed")
    return 0
