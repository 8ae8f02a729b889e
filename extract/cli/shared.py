"""What several commands need: the client, the database, names, numbers and waits as typed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from extract.database.database import Database
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.errors import UsageError
from extract.settings import DEFAULT_BURST, Settings

SHOWN = 20
REREAD = "perps dbt -- run-operation reread_loads --args '{model: perpetuals_ohlcv}'"
"""Has the table made again from raw candles that are right."""


def client(settings: Settings) -> DeribitClient:
    """Return a client with a budget of its own."""
    return DeribitClient(settings.api_url, TokenBucket(settings.requests_per_second, DEFAULT_BURST))


def database(settings: Settings) -> Database:
    """Return the database to use; starts the embedded server where that is meant."""
    return settings.database()


def candles_within(least: int, most: int, given: int, flag: str) -> int:
    """Return a flag's number of candles.

    Raises:
        UsageError: it is beyond its bounds.
    """
    if given < least:
        raise UsageError(f"expected {flag} of at least {least} candles, got {given}")
    if given > most:
        raise UsageError(f"expected {flag} of at most {most} candles, got {given}")
    return given


def waiting(args: argparse.Namespace) -> int:
    """Return how long to wait for another load or build, in seconds.

    Raises:
        UsageError: it is below zero.
    """
    if args.wait < 0:
        raise UsageError(f"expected --wait of at least 0 seconds, got {args.wait}")
    return int(args.wait)


def without_dashes(arguments: list[str]) -> list[str]:
    """Return what follows the `--` that separates another program's arguments."""
    return arguments[1:] if arguments[:1] == ["--"] else arguments


def print_some(lines: Sequence[str], what: str) -> None:
    """Print so many lines, and how many more there are."""
    for line in lines[:SHOWN]:
        print(line)
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN:,} more {what}")
