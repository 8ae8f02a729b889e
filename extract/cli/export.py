"""`perps export`: candles of the table, as files for other programs."""

from __future__ import annotations

import argparse
import time

from extract.settings import Settings

TEXT = "write candles of the table to Parquet or CSV"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
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
    """Write the candles; say how many, and how fast."""
    # Arrow takes half a second to import, which other commands need not pay
    from extract.cli.shared import database, split_names  # noqa: PLC0415
    from extract.core.times import parse_range  # noqa: PLC0415
    from extract.database.watchdog import watched  # noqa: PLC0415
    from extract.export.selection import select  # noqa: PLC0415
    from extract.export.writing import write_candles  # noqa: PLC0415

    within = parse_range(args.start, args.end)
    names = split_names(args.instruments) or ["all"]
    reached, began = database(settings), time.monotonic()
    with watched(reached):
        rows = write_candles(reached, select(reached, names, within, args.resolution), args.out)
    seconds = time.monotonic() - began
    print(f"{rows:,} candles in {seconds:.1f} s, {rows / seconds:,.0f} a second")
    print(args.out)
    return 0
