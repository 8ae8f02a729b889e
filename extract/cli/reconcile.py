"""`perps reconcile`: compare with Deribit's own longer candles."""

from __future__ import annotations

import argparse
import sys

from extract.check.reconciliation import bars_to_ask, count_buckets, parse_coarser, read_buckets
from extract.cli import flags
from extract.cli.loading import loading
from extract.cli.shared import print_some, waiting
from extract.core.names import split_names
from extract.core.times import parse_range
from extract.settings import Settings
from extract.transform.failures import NodesFailedError
from extract.transform.models import pick, read_histories, read_resolution
from extract.transform.runner import base_variables, run_dbt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps reconcile`."""
    parser.add_argument(
        "--resolution",
        default="1D",
        metavar="R",
        help="resolution of Deribit's candles: 3, 5, 10, 15, 30, 60, 120, 720 or 1D (default: 1D)",
    )
    flags.times(parser, "the first candle of the table", "its last")
    flags.instruments(parser, "one in the table", "the default")
    flags.load(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load Deribit's own longer candles, compare them with dbt, and print the result."""
    wait_s, database = waiting(args), settings.database()
    base = read_resolution(database)
    coarse = parse_coarser(args.resolution, base)
    histories = pick(read_histories(database, base), split_names(args.instruments))
    asked = bars_to_ask(histories, parse_range(args.start, args.end), coarse)
    with loading(args, settings) as loader:
        result = loader.history(asked, coarse, base)
    for name in sorted(asked.keys() & set(result.unlisted)):
        print(f"{name}: no longer known to deribit, skipped", file=sys.stderr)
    # both sides of the comparison must have read the same loads
    models = ("perpetuals_ohlcv", "exchange_bars", "ohlcv_reconciliation")
    command = ["run", "--select", *models, *base_variables(base.name)]
    failed = None
    try:
        run_dbt(command, database, settings.dbt, wait_s)
    except NodesFailedError as error:
        failed = error
    compared = read_buckets(database, asked, coarse)
    for name, buckets in compared.items():
        print(f"{name} {coarse.name}: {count_buckets(buckets)}")
    odd = [bucket for buckets in compared.values() for bucket in buckets if bucket.status != "identical"]
    print_some([str(bucket) for bucket in odd], "buckets")
    if whole := sum(bucket.whole for bucket in odd):
        print(f"warning: {whole:,} buckets have all candles but differ from deribit; try: perps verify")
    if failed:
        raise failed
    return 0
