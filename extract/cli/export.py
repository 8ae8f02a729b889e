"""`perps export`: write candles of the table to Parquet or CSV files."""

from __future__ import annotations

import argparse
import time

from extract.cli import flags
from extract.core.names import split_names
from extract.core.times import parse_range
from extract.database.watchdog import watched
from extract.export.selection import select
from extract.export.writing import write_candles
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps export`."""
    flags.instruments(parser, "one in the table", "the default")
    flags.times(parser, "the first candle of the table", "its last")
    parser.add_argument(
        "--resolution",
        default="1",
        metavar="R",
        help="1, or a rollup: 5m, 15m, 1h, 4h, 1d or 1d_settlement (default: 1)",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="FILE.parquet or FILE.csv, overwritten if it exists; or a folder, for a Parquet file per "
        "instrument and month, each overwritten whole",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Write the candles; print how many, and how fast."""
    time_range = parse_range(args.start, args.end)
    names = split_names(args.instruments) or ["all"]
    database, began = settings.database(), time.monotonic()
    with watched(database):
        rows = write_candles(database, select(database, names, time_range, args.resolution), args.out)
    seconds = time.monotonic() - began
    print(f"{rows:,} candles in {seconds:.1f} s, {rows / seconds:,.0f} a second")
    print(args.out)
    return 0
