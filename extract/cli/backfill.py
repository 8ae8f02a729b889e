"""`perps backfill`: load a given time range."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.loading import chosen_endpoints, loading, print_result
from extract.core.names import split_names
from extract.core.times import parse_range
from extract.errors import UsageError
from extract.load.result import LoadResult
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps backfill`."""
    flags.times(parser, "the instrument's listing", "after the last closed candle")
    flags.selection(parser, "required")
    flags.only(parser, "load")
    flags.lookback(parser)
    flags.load(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load a given time range and print the result."""
    print_result(load(args, settings))
    return 0


def load(args: argparse.Namespace, settings: Settings) -> LoadResult:
    """Load a given time range and return the result."""
    names = split_names(args.instruments)
    if not names:
        raise UsageError("expected names or 'all' after --instruments, got none; see: perps instruments")
    endpoints, time_range = chosen_endpoints(args), parse_range(args.start, args.end)
    with loading(args, settings) as loader:
        return loader.backfill(names, endpoints, time_range)
