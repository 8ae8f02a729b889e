"""`perps backfill`: load an explicit range."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.loading import loading, print_result
from extract.cli.shared import split_names
from extract.core.resolution import parse_resolution
from extract.core.times import parse_range
from extract.errors import UsageError
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps backfill`."""
    flags.times(parser, "listing", "the last closed candle")
    flags.selection(parser, "required")
    flags.lookback(parser)
    flags.load(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load an explicit range."""
    names = split_names(args.instruments)
    if not names:
        raise UsageError("expected --instruments with names or 'all', got none; see: perps instruments")
    resolution, time_range = parse_resolution(args.resolution), parse_range(args.start, args.end)
    with loading(args, settings) as loader:
        result = loader.backfill(names, resolution, time_range)
    print_result(result)
    return 0
