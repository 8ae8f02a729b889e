"""What several commands share: the client, checks of numbers, and printing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.errors import UsageError
from extract.settings import DEFAULT_BURST, Settings

SHOWN = 20
REREAD = "perps dbt -- run-operation reread_loads --args '{{model: {}}}'"
"""The command that rebuilds a table from raw rows."""


def client(settings: Settings, burst: int = DEFAULT_BURST) -> DeribitClient:
    """Return a client with its own request budget, of which `burst` may be sent at once."""
    return DeribitClient(settings.api_url, TokenBucket(settings.requests_per_second, burst))


def check_count(least: int, most: int, given: int, flag: str) -> int:
    """Return a flag's number of candles, after checking its bounds.

    Raises:
        UsageError: the number is out of bounds.
    """
    if given < least:
        raise UsageError(f"expected {flag} of at least {least} candles, got {given}")
    if given > most:
        raise UsageError(f"expected {flag} of at most {most} candles, got {given}")
    return given


def waiting(args: argparse.Namespace) -> int:
    """Return how long to wait for another load or build, in seconds.

    Raises:
        UsageError: the number is negative.
    """
    if args.wait < 0:
        raise UsageError(f"expected --wait of at least 0 seconds, got {args.wait}")
    return int(args.wait)


def without_dashes(arguments: list[str]) -> list[str]:
    """Return the arguments without the leading `--`, to pass on to another program."""
    return arguments[1:] if arguments[:1] == ["--"] else arguments


def print_some(lines: Sequence[str], what: str) -> None:
    """Print the first lines, and how many more there are."""
    for line in lines[:SHOWN]:
        print(line)
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN:,} more {what}")
