"""`perps health`: show whether the table is fresh, as an exit code and one line."""

from __future__ import annotations

import argparse

from extract.core.schedule import parse_length
from extract.core.times import format_time
from extract.errors import PerpsError
from extract.settings import Settings
from extract.transform.freshness import read_freshness

SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps health`."""
    parser.add_argument(
        "--max-age",
        default="10m",
        metavar="TIME",
        help="longest time since the last build with new candles, and since the newest candle closed "
        "(default: %(default)s)",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print how fresh the table is; start nothing.

    Raises:
        PerpsError: it is older than `--max-age`, or cannot be read.
    """
    most_s = parse_length(args.max_age, "--max-age", 1_000) / 1000
    fresh = read_freshness(settings.server or settings.cluster.database())
    behind = fresh.behind(most_s)
    if fresh.built_s > most_s:
        raise PerpsError(
            f"the table was last built from new candles {fresh.built_s:.0f} s ago; "
            "see the log of perps run, or run: perps doctor"
        )
    if len(behind) == len(fresh.closes):
        raise PerpsError(
            f"no instrument has a candle of the last {most_s:.0f} s before {format_time(fresh.checked_ms)}; "
            "run: perps doctor --exchange"
        )
    late = f", {len(behind)} behind: {', '.join(behind[:SHOWN])}" if behind else ""
    count, newest = len(fresh.closes), format_time(max(fresh.closes.values()))
    print(f"healthy: candles until {newest}, built {fresh.built_s:.0f} s ago, {count} instruments{late}")
    return 0
