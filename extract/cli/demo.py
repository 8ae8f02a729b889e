"""`perps demo`: the whole flow on synthetic candles, in a database of its own."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path

from extract import simulator
from extract.cli import flags
from extract.cli.loading import share_memory
from extract.core.names import ENDPOINTS
from extract.core.resolution import DAY_MS, RESOLUTIONS
from extract.database.database import Database
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.load.endpoint import endpoints
from extract.load.loader import Loader
from extract.load.progress import shown_progress
from extract.report.evidence import write_report
from extract.settings import Settings
from extract.transform.runner import run_dbt

DATABASE = "perps_demo"
INSTRUMENTS = ("BTC-PERPETUAL", "ETH-PERPETUAL")
DAYS = 30
RATE = 20.0

QUERY = (
    "select instrument, time_bucket('1 day', timestamp) as day, first(open, timestamp) as open, "
    "max(high) as high, min(low) as low, last(close, timestamp) as close, sum(volume) as volume, "
    "count(*) as candles from perpetuals_ohlcv group by 1, 2 order by 2 desc, 1 limit 6"
)
"""Printed inside a shell command, so it must hold no double quote and no dollar sign."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps demo`."""
    flags.out(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the whole flow on synthetic candles."""
    run_demo(settings, Path(args.out) / "demo", print)
    return 0


def run_demo(settings: Settings, folder: Path, write: Callable[[str], None]) -> None:
    """Load, build, test and report 30 days of two synthetic perpetuals.

    The demo always uses the embedded server and recreates its own database each time, so that synthetic
    candles cannot mix with market data.

    Args:
        settings: has the embedded server and dbt's project.
        folder: folder for the report.
        write: called with each line to print.

    Raises:
        PerpsError: a step failed.
    """
    share_memory()
    server = settings.cluster
    server.start()
    server.drop_database(DATABASE)
    database = server.create_database(DATABASE)
    write(f"database {DATABASE} is ready; the candles are SYNTHETIC, from the local simulator")
    with simulator.running() as simulated, shown_progress() as progress:
        client = DeribitClient(simulated.base_url, TokenBucket(RATE))
        now_ms = RESOLUTIONS["1"].floor(client.server_time().result)
        loader = Loader(client, database, settings.pipelines, progress=progress)
        result = loader.backfill(
            INSTRUMENTS, endpoints(ENDPOINTS, RESOLUTIONS["1"]), (now_ms - DAYS * DAY_MS, now_ms)
        )
    write(
        f"loaded {result.rows:,} synthetic candles, funding rates and settlements "
        f"in {result.requests} requests"
    )
    run_dbt(["build"], database, settings.dbt)
    write_report(database, folder)
    _print_next_steps(database, folder / "report.html", settings, write)


def _print_next_steps(
    database: Database, page: Path, settings: Settings, write: Callable[[str], None]
) -> None:
    """Print a query with its result, the page's path, and commands to go on with."""
    perps = settings.project / ".venv/bin/perps"
    shown = shlex.quote(str(perps)) if perps.exists() else "perps"
    write(f'\n{shown} db psql --database {DATABASE} -- -c "{QUERY}"\n')
    with database.reading() as cursor:
        cursor.execute(QUERY)
        write(" | ".join(column.name for column in cursor.description or ()))
        for row in cursor.fetchall():
            write(" | ".join(str(value) for value in row))
    write(f"\npage: {page.resolve()}\n\nGo on with:")
    write(f"  {shown} db psql --database {DATABASE}  # queries of your own, on synthetic candles")
    write(f"  {shown} run --instruments {','.join(INSTRUMENTS)}  # real candles, in another database")
    write(f"  {shown} db stop  # stop the server")
