"""`perps reconcile`: compare with Deribit's own longer candles, or with its funding rates of whole months."""

from __future__ import annotations

import argparse
import sys

from extract.check.funding_months import compare_months, read_months
from extract.check.reconciliation import count_buckets, parse_coarser, read_buckets, to_fetch
from extract.cli import flags
from extract.cli.loading import loading
from extract.cli.shared import client, print_some, waiting
from extract.core.names import split_names
from extract.core.times import parse_range
from extract.errors import PerpsError, UsageError
from extract.load.endpoint import FUNDING
from extract.load.selection import check_origin
from extract.settings import Settings
from extract.transform.failures import NodesFailedError
from extract.transform.models import pick, read_histories, read_origin, read_resolution
from extract.transform.runner import base_variables, run_dbt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps reconcile`."""
    parser.add_argument(
        "--resolution",
        metavar="R",
        help="resolution of Deribit's candles: 3, 5, 10, 15, 30, 60, 120, 720 or 1D (default: 1D)",
    )
    parser.add_argument(
        "--funding",
        action="store_true",
        help="compare the funding of each month with Deribit's own rate for the month, instead of candles",
    )
    flags.times(parser, "the first row of the table", "its last")
    flags.instruments(parser, "one in the table", "the default")
    flags.load(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Compare, and print the result.

    Raises:
        PerpsError: there are differences.
    """
    if not args.funding:
        return _reconcile_candles(args, settings)
    if args.resolution:
        raise UsageError("expected --funding or --resolution, got both; funding is compared by month")
    return _reconcile_funding(args, settings)


def _reconcile_funding(args: argparse.Namespace, settings: Settings) -> int:
    """Compare the funding of each month with Deribit's own rate for the month; load nothing."""
    database, deribit = settings.database(), client(settings)
    start, end = parse_range(args.start, args.end)
    hours = read_histories(database, FUNDING.resolution, FUNDING.table)
    histories = pick(hours, split_names(args.instruments), "funding")
    ranges = {name: (max(start, first), min(end, last)) for name, (first, last) in histories.items()}
    check_origin(read_origin(database), deribit.server_time().origin)
    months = list(compare_months(deribit, read_months(database, ranges)))
    odd = [month for month in months if not month.is_equal]
    for name in histories:
        mine = [month for month in months if month.instrument == name]
        different = sum(not month.is_equal for month in mine)
        print(f"{name}: {len(mine) - different:,} months equal, {different:,} different")
    print_some([str(month) for month in odd], "months")
    if odd:
        raise PerpsError(
            f"the funding of {len(odd):,} months differs from deribit's own rate; "
            f"try: perps verify --only funding --instruments {odd[0].instrument} --start {odd[0].name}-01"
        )
    return 0


def _reconcile_candles(args: argparse.Namespace, settings: Settings) -> int:
    """Load Deribit's own longer candles, compare them with dbt, and print the result."""
    wait_s, database = waiting(args), settings.database()
    base = read_resolution(database)
    coarse = parse_coarser(args.resolution or "1D", base)
    histories = pick(read_histories(database, base), split_names(args.instruments))
    ranges = to_fetch(histories, parse_range(args.start, args.end), coarse)
    with loading(args, settings) as loader:
        result = loader.history(ranges, coarse, base)
    for name in sorted(ranges.keys() & set(result.unlisted)):
        print(f"{name}: no longer known to deribit, skipped", file=sys.stderr)
    # build both sides, so that the comparison has read the same loads of each
    models = ("perpetuals_ohlcv", "exchange_bars", "ohlcv_reconciliation")
    command = ["run", "--select", *models, *base_variables(base.name)]
    failed = None
    try:
        run_dbt(command, database, settings.dbt, wait_s)
    except NodesFailedError as error:
        failed = error
    compared = read_buckets(database, ranges, coarse)
    for name, buckets in compared.items():
        print(f"{name} {coarse.name}: {count_buckets(buckets)}")
    odd = [bucket for buckets in compared.values() for bucket in buckets if bucket.status != "identical"]
    print_some([str(bucket) for bucket in odd], "buckets")
    if whole := sum(bucket.whole for bucket in odd):
        print(f"warning: {whole:,} buckets have all candles but differ from deribit; try: perps verify")
    if failed:
        raise failed
    return 0
