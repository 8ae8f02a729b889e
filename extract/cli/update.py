"""`perps update`: load new candles."""

from __future__ import annotations

import argparse

from extract.cli import flags
from extract.cli.loading import loading, print_result
from extract.core.names import split_names
from extract.core.resolution import parse_resolution
from extract.load.result import LoadResult
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps update`."""
    flags.selection(parser, "default: every instrument already loaded")
    flags.lookback(parser)
    flags.load(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load new candles and print the result."""
    print_result(load(args, settings))
    return 0


def load(args: argparse.Namespace, settings: Settings) -> LoadResult:
    """Load new candles and return the result."""
    names, resolution = split_names(args.instruments), parse_resolution(args.resolution)
    with loading(args, settings) as loader:
        return loader.update(names, resolution)
