"""`perps update`: load what is new."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

from extract.cli import flags
from extract.cli.loading import loading, print_result
from extract.cli.shared import split_names
from extract.core.resolution import parse_resolution
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps update`."""
    flags.selection(parser, "default: every instrument already loaded")
    flags.lookback(parser)
    flags.load(parser)


def run(
    args: argparse.Namespace, settings: Settings, landed: Callable[[int], None] = lambda _candles: None
) -> int:
    """Load what is new; `landed` is told of every complete load. See `Loader`."""
    names, resolution = split_names(args.instruments), parse_resolution(args.resolution)
    with loading(args, settings) as unheard:
        loader = replace(unheard, landed=landed)
        result = loader.update(names, resolution)
    print_result(result)
    return 0
