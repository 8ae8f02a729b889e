"""`perps export`: write candles, funding or settlements to Parquet or CSV files."""

from __future__ import annotations

import argparse
import time

from extract.cli import flags
from extract.core.names import ENDPOINTS, counted, parse_endpoints, split_names
from extract.core.times import parse_range
from extract.database.watchdog import watched
from extract.errors import UsageError
from extract.export.selection import select
from extract.export.writing import write_rows
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps export`."""
    flags.instruments(parser, "one in the table", "the default")
    flags.times(parser, "the first row of the table", "its last")
    parser.add_argument(
        "--only",
        nargs="+",
        default=["candles"],
        metavar="KIND",
        help=f"write {', '.join(ENDPOINTS[:-1])} or {ENDPOINTS[-1]}: one of them, because their files have "
        "different columns (default: candles)",
    )
    parser.add_argument(
        "--resolution",
        metavar="R",
        help="of candles: 1, or a rollup: 5m, 15m, 1h, 4h, 1d or 1d_settlement (default: 1)",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="FILE.parquet or FILE.csv, overwritten if it exists; or a folder, for a Parquet file per "
        "instrument and month, each overwritten whole",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Write the rows; print how many, and how fast."""
    time_range = parse_range(args.start, args.end)
    kind, resolution = _form(args)
    names = split_names(args.instruments) or ["all"]
    database, began = settings.database(), time.monotonic()
    with watched(database):
        rows = write_rows(database, select(database, names, time_range, kind, resolution), args.out)
    seconds = time.monotonic() - began
    print(f"{counted({kind: rows})} in {seconds:.1f} s, {rows / seconds:,.0f} a second")
    print(args.out)
    return 0


def _form(args: argparse.Namespace) -> tuple[str, str]:
    """Return what to write, one of `ENDPOINTS`, and the resolution of candles.

    Raises:
        UsageError: --only names several, or --resolution is given for another than candles.
    """
    kinds = parse_endpoints(args.only)
    if len(kinds) > 1:
        raise UsageError(
            f"expected one of {', '.join(ENDPOINTS)} in --only, because their files have different columns, "
            f"got {', '.join(kinds)}; export each to a place of its own"
        )
    if args.resolution is not None and kinds != ["candles"]:
        raise UsageError(
            f"expected --resolution with candles only, got it with --only {kinds[0]}; leave out --resolution"
        )
    return kinds[0], args.resolution or "1"
