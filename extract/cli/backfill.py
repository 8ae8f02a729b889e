"""`perps backfill`: load an explicit range."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.loading import loading, print_result
from extract.core.names import split_names
from extract.core.resolution import parse_resolution
from extract.core.times import parse_range
from extract.errors import UsageError
from extract.load.result import LoadResult
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps backfill`."""
    flags.times(parser, "listing", "the last closed candle")
    flags.selection(parser, "required")
    flags.lookback(parser)
    flags.load(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load an explicit range, and say what that did."""
    print_result(load(args, settings))
    return 0


def load(args: argparse.Namespace, settings: Settings) -> LoadResult:
    """Load an explicit range; return what that did."""
    names = split_names(args.instruments)
    if not names:
        raise UsageError("expected --instruments with names or 'all', got none; see: perps instruments")
    resolution, time_range = parse_resolution(args.resolution), parse_range(args.start, args.end)
    with loading(args, settings) as loader:
        return loader.backfill(names, resolution, time_range)
