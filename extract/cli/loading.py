"""What commands that load share: the loader and the printed result."""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

import pyarrow as pa

from extract.cli.shared import candles_within, client, waiting
from extract.core.names import ENDPOINTS, counted, parse_endpoints
from extract.core.resolution import parse_resolution
from extract.core.times import format_time
from extract.database.watchdog import watched
from extract.deribit.client import DeribitClient
from extract.load.endpoint import Endpoint, endpoints
from extract.load.loader import Loader
from extract.load.plan import DEFAULT_LOOKBACK, MOST_LOAD_CANDLES, MOST_LOOKBACK
from extract.load.progress import shown_progress
from extract.load.result import LoadResult
from extract.settings import Settings

M_ARENA_MAX, ARENAS = -8, 2
"""glibc's option, see mallopt(3), and how many arenas the threads share."""


def share_memory() -> None:
    """Have all threads use the same memory, so that what one has freed another takes.

    Arrow's own allocator kept 500 MB after 7 million candles, and glibc's with eight arenas a processor
    396 MB after 4 million; with two it is 313.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def make_loader(
    args: argparse.Namespace,
    settings: Settings,
    deribit: DeribitClient | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> Loader:
    """Return the loader that the flags describe, which shows nothing.

    Args:
        args: flags of `flags.load`, and perhaps of `flags.lookback`.
        settings: where to ask and where to land.
        deribit: a client that stays; None: one of its own.
        pool: threads that stay. See `Loader`.

    Raises:
        UsageError: a flag has an invalid value.
    """
    given = getattr(args, "lookback", DEFAULT_LOOKBACK)
    lookback = candles_within(0, MOST_LOOKBACK, given, "--lookback")
    package = candles_within(1, MOST_LOAD_CANDLES, args.load_candles, "--load-candles")
    wait_s, asked = waiting(args), deribit or client(settings)
    return Loader(
        asked,
        settings.database(),
        settings.pipelines,
        lookback,
        load_candles=package,
        wait_s=wait_s,
        pool=pool,
    )


def chosen_endpoints(args: argparse.Namespace) -> list[Endpoint]:
    """Return what to load, by --only and --resolution.

    Raises:
        UsageError: a flag has an invalid value.
    """
    return endpoints(parse_endpoints(args.only), parse_resolution(args.resolution))


@contextmanager
def loading(args: argparse.Namespace, settings: Settings) -> Iterator[Loader]:
    """Yield the loader that the flags describe, for one load, and show its progress.

    Raises:
        UsageError: a flag has an invalid value.
    """
    loader = make_loader(args, settings)
    share_memory()
    with shown_progress() as progress, watched(loader.database):
        yield replace(loader, progress=progress)


def print_result(result: LoadResult) -> None:
    """Print how many rows were loaded, and which instruments had none."""
    asked = [endpoint for endpoint in ENDPOINTS if result.of(endpoint)]
    for name in dict.fromkeys(name for endpoint in asked for name in result.of(endpoint)):
        print(f"{name}: {counted({one: result.of(one).get(name, 0) for one in asked})} loaded")
    for name, why in result.nothing.items():
        print(f"{name}: nothing in this time range, {why}", file=sys.stderr)
    for name, ended_ms in result.delisted.items():
        last = f"its last candle with volume ends at {format_time(ended_ms)}"
        print(f"{name}: no longer listed by deribit, {last}", file=sys.stderr)
    for name in result.unlisted:
        print(f"{name}: no longer listed by deribit, skipped; its candles are kept", file=sys.stderr)
    totals = {endpoint: sum(result.of(endpoint).values()) for endpoint in asked}
    print(f"{counted(totals) or 'nothing new'} in {result.requests} requests; next: perps dbt -- build")
