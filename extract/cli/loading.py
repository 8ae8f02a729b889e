"""What the loading commands share: the loader and the printed result."""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

import pyarrow as pa

from extract.cli.shared import check_count, client, waiting
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
"""glibc's option for the number of malloc arenas (see mallopt(3)), and that number."""


def share_memory() -> None:
    """Let all threads share memory pools, so that one thread can use what another has freed.

    Measured peaks: with Arrow's own allocator 500 MB after 7 million candles; with glibc's 396 MB after
    4 million with eight arenas per processor, 313 MB with two arenas.
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
    """Return the loader that the flags describe, without progress.

    Args:
        args: the flags of `flags.load`, and of `flags.lookback` if the command has it.
        settings: has the API and the database.
        deribit: a client to use; None: a new one.
        pool: see `Loader`.

    Raises:
        UsageError: a flag has an invalid value.
    """
    given = getattr(args, "lookback", DEFAULT_LOOKBACK)
    lookback = check_count(0, MOST_LOOKBACK, given, "--lookback")
    package = check_count(1, MOST_LOAD_CANDLES, args.load_candles, "--load-candles")
    wait_s, used = waiting(args), deribit or client(settings)
    return Loader(
        used,
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
    loaded = [endpoint for endpoint in ENDPOINTS if result.of(endpoint)]
    for name in dict.fromkeys(name for endpoint in loaded for name in result.of(endpoint)):
        print(f"{name}: {counted({one: result.of(one).get(name, 0) for one in loaded})} loaded")
    for name, why in result.nothing.items():
        print(f"{name}: nothing in this time range, {why}", file=sys.stderr)
    for name, ended_ms in result.delisted.items():
        last = f"its last candle with volume ends at {format_time(ended_ms)}"
        print(f"{name}: no longer listed by deribit, {last}", file=sys.stderr)
    for name in result.unlisted:
        print(f"{name}: no longer listed by deribit, skipped; its candles are kept", file=sys.stderr)
    totals = {endpoint: sum(result.of(endpoint).values()) for endpoint in loaded}
    print(f"{counted(totals) or 'nothing new'} in {result.requests} requests; next: perps dbt -- build")
