"""`perps update`: load what is new."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

from extract.cli import flags
from extract.cli.loading import loading, print_result
from extract.core.names import split_names
from extract.core.resolution import parse_resolution
from extract.load.result import LoadResult
from extract.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be typed after `perps update`."""
    flags.selection(parser, "default: every instrument already loaded")
    flags.lookback(parser)
    flags.load(parser)


Landed = Callable[[int], None]


def run(args: argparse.Namespace, settings: Settings, landed: Landed = lambda _candles: None) -> int:
    """Load what is new, and say what that did; `landed` is told of every complete load. See `Loader`."""
    print_result(load(args, settings, landed))
    return 0


def load(args: argparse.Namespace, settings: Settings, landed: Landed = lambda _candles: None) -> LoadResult:
    """Load what is new; return what that did."""
    names, resolution = split_names(args.instruments), parse_resolution(args.resolution)
    with loading(args, settings) as unheard:
        return replace(unheard, landed=landed).update(names, resolution)
