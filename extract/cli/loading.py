"""Commands that load candles: backfill and update."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from extract.cli.shared import candles_within, client, database, split_names, waiting
from extract.core.resolution import parse_resolution
from extract.core.times import format_time, parse_range
from extract.database.watchdog import watched
from extract.errors import UsageError
from extract.load.loader import Loader
from extract.load.plan import DEFAULT_LOOKBACK, MOST_LOOKBACK, MOST_PACKAGE
from extract.load.progress import shown_progress
from extract.load.result import LoadResult
from extract.settings import Settings


def backfill(args: argparse.Namespace, settings: Settings) -> int:
    """Load an explicit range."""
    names = split_names(args.instruments)
    if not names:
        raise UsageError("expected --instruments with names or 'all', got none; see: perps instruments")
    resolution, time_range = parse_resolution(args.resolution), parse_range(args.start, args.end)
    with loading(args, settings) as loader:
        result = loader.backfill(names, resolution, time_range)
    print_result(result)
    return 0


def update(
    args: argparse.Namespace, settings: Settings, landed: Callable[[int], None] = lambda _candles: None
) -> int:
    """Load what is new; `landed` is told of every complete load. See `Loader`."""
    names, resolution = split_names(args.instruments), parse_resolution(args.resolution)
    with loading(args, settings) as unheard:
        loader = replace(unheard, landed=landed)
        result = loader.update(names, resolution)
    print_result(result)
    return 0


@contextmanager
def loading(args: argparse.Namespace, settings: Settings) -> Iterator[Loader]:
    """Yield the loader that the flags describe, with its progress on the screen.

    Raises:
        UsageError: a flag cannot be used.
    """
    given = getattr(args, "lookback", DEFAULT_LOOKBACK)
    lookback = candles_within(0, MOST_LOOKBACK, given, "--lookback")
    package = candles_within(1, MOST_PACKAGE, args.package_candles, "--package-candles")
    wait_s = waiting(args)
    deribit, reached = client(settings), database(settings)
    with shown_progress() as progress, watched(reached):
        yield Loader(deribit, reached, settings.pipelines, lookback, progress, package, wait_s)


def print_result(result: LoadResult) -> None:
    """Say what was landed."""
    for name, candles in result.candles.items():
        print(f"{name}: {candles:,} candles landed")
    for name, why in result.nothing.items():
        print(f"{name}: nothing in this range, {why}", file=sys.stderr)
    for name, ended_ms in result.delisted.items():
        last = f"its last candle with volume ends at {format_time(ended_ms)}"
        print(f"{name}: no longer listed by deribit, {last}", file=sys.stderr)
    for name in result.unlisted:
        print(f"{name}: no longer listed by deribit, left as it is", file=sys.stderr)
    print(f"{sum(result.candles.values()):,} candles in {result.requests} requests; next: perps dbt -- build")
