"""Flags that several commands share."""

from __future__ import annotations

import argparse

from extract.core.names import ENDPOINTS
from extract.core.resolution import RESOLUTIONS
from extract.load.plan import DEFAULT_LOAD_CANDLES, DEFAULT_LOOKBACK


def api(parser: argparse.ArgumentParser) -> None:
    """Add --api-url and --requests-per-second."""
    parser.add_argument("--api-url", metavar="URL", help="base URL of the API (default: DERIBIT_API_URL)")
    parser.add_argument(
        "--requests-per-second",
        type=float,
        metavar="N",
        help="request rate limit for all instruments together "
        "(default: DERIBIT_REQUESTS_PER_SECOND, or else 20)",
    )


def instruments(parser: argparse.ArgumentParser, all_of: str, nothing: str) -> None:
    """Add --instruments; the help says that 'all' is every `all_of`, and ends with `nothing`, the default."""
    parser.add_argument(
        "--instruments",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"names separated by commas or spaces, or 'all' for every {all_of} ({nothing})",
    )


def selection(parser: argparse.ArgumentParser, nothing: str) -> None:
    """Add --instruments and --resolution, for commands that load."""
    instruments(parser, "perpetual", nothing)
    parser.add_argument(
        "--resolution",
        default="1",
        metavar="R",
        help=f"candle length in minutes, or 1D: {', '.join(RESOLUTIONS)} (default: 1)",
    )


def only(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --only; `what` is the verb of its help, such as "load"."""
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="KIND",
        help=f"{what} only {', '.join(ENDPOINTS[:-1])} or {ENDPOINTS[-1]}; separate several by commas or "
        "spaces (default: all three)",
    )


def times(parser: argparse.ArgumentParser, start: str, end: str) -> None:
    """Add --start and --end; `start` and `end` are their defaults, for the help."""
    parser.add_argument(
        "--start",
        metavar="TIME",
        help=f"start, inclusive: a date, an ISO time or milliseconds, UTC (default: {start})",
    )
    parser.add_argument("--end", metavar="TIME", help=f"end, exclusive (default: {end})")


def lookback(parser: argparse.ArgumentParser) -> None:
    """Add --lookback."""
    parser.add_argument(
        "--lookback",
        type=int,
        default=DEFAULT_LOOKBACK,
        metavar="N",
        help="number of recent candles, hours of funding and settlements to fetch again, to catch late "
        "revisions (default: %(default)s)",
    )


def load(parser: argparse.ArgumentParser) -> None:
    """Add --load-candles, --wait and the flags of `api`."""
    parser.add_argument(
        "--load-candles",
        type=int,
        default=DEFAULT_LOAD_CANDLES,
        metavar="N",
        help="most rows in one load; limits memory (default: %(default)s)",
    )
    wait(parser)
    api(parser)


def wait(parser: argparse.ArgumentParser) -> None:
    """Add --wait."""
    parser.add_argument(
        "--wait",
        type=int,
        default=0,
        metavar="SECONDS",
        help="seconds to wait for another load or build to finish (default: 0)",
    )


def out(parser: argparse.ArgumentParser) -> None:
    """Add --out."""
    parser.add_argument(
        "--out", default="reports", metavar="DIR", help="folder for the report (default: reports)"
    )
