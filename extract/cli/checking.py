"""Commands that check the table: verify against Deribit, reconcile with its longer candles, audit."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence

from extract.check.reconciliation import bars_to_ask, count_buckets, parse_coarser, read_buckets
from extract.check.verify import REPAIRABLE, Checked, Difference, check_windows, cut_histories, draw_windows
from extract.cli.loading import loading
from extract.cli.shared import client, database, waiting
from extract.core.names import split_names
from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution
from extract.core.times import format_time, parse_range
from extract.errors import PerpsError, UsageError
from extract.load.selection import check_origin
from extract.settings import Settings
from extract.transform.models import pick, read_histories, read_origin, read_resolution
from extract.transform.runner import base_variables, run_dbt

SHOWN = 20
REREAD = "perps dbt -- run-operation reread_loads --args '{model: perpetuals_ohlcv}'"
"""Has the table made again from raw candles that are right."""

DEFAULT_SAMPLE = 10
SEEDS = 2**32


def verify(args: argparse.Namespace, settings: Settings) -> int:
    """Compare windows of the table with Deribit, and say what would bring in the differences."""
    ranged = args.start is not None or args.end is not None
    if ranged and (args.sample is not None or args.seed is not None):
        raise UsageError("expected --sample and --seed, or --start and --end, got both; choose one")
    sample = DEFAULT_SAMPLE if args.sample is None else args.sample
    if sample < 1:
        raise UsageError(f"expected --sample of at least 1 window, got {sample}")
    seed = random.SystemRandom().randrange(SEEDS) if args.seed is None else args.seed
    reached, deribit = database(settings), client(settings)
    resolution = read_resolution(reached)
    histories = pick(read_histories(reached, resolution), split_names(args.instruments))
    clock = deribit.server_time()
    check_origin(read_origin(reached), clock.origin)
    listed = {found.name: found.created_ms for found in deribit.instruments().perpetuals}
    if ranged:
        ranges = _typed_ranges(args, histories, listed, resolution)
        windows = cut_histories(ranges, resolution, clock.result)
    else:
        windows = draw_windows(histories, resolution, clock.result, sample, seed)
    checked = list(check_windows(deribit, reached, windows, listed))
    return _print_checked(checked, resolution, None if ranged else seed)


def _typed_ranges(
    args: argparse.Namespace,
    histories: Mapping[str, TimeRange],
    listed: Mapping[str, int],
    resolution: Resolution,
) -> dict[str, TimeRange]:
    """Return what --start and --end say, and the table's own bounds where they say nothing.

    What is no longer listed goes on with flat candles, so that the table's end is its end.
    """
    start, end = parse_range(args.start, args.end)
    return {
        name: (
            max(resolution.ceil(start), min(first, resolution.floor(listed.get(name, first))))
            if args.start
            else first,
            end if name in listed else min(end, last),
        )
        for name, (first, last) in histories.items()
    }


def _print_checked(checked: Sequence[Checked], resolution: Resolution, seed: int | None) -> int:
    """Print the differences, the sum, and what brings them in.

    Raises:
        PerpsError: there are differences.
    """
    differences = [difference for each in checked for difference in each.differences]
    _print_some([str(difference) for difference in differences], "differences")
    candles = sum(each.candles for each in checked)
    drawn = "" if seed is None else f" (--seed {seed})"
    print(f"{len(checked)} windows, {candles:,} candles compared, {len(differences):,} differences{drawn}")
    if not differences:
        return 0
    lines = [line for each in checked if (line := _backfill_line(each, resolution))]
    if any(difference.at_ms in each.landed for each in checked for difference in _repairable(each)):
        lines.insert(0, REREAD)
    _print_some(lines, "commands")
    raise PerpsError(
        f"expected the table to say what deribit says, got {len(differences):,} differences; "
        "run the perps lines above, if any, then: perps dbt -- build"
    )


def _repairable(checked: Checked) -> list[Difference]:
    return [difference for difference in checked.differences if difference.kind in REPAIRABLE]


def _backfill_line(checked: Checked, resolution: Resolution) -> str | None:
    """Return the command that loads what the raw tables lack of a window's changed and missing candles."""
    at = [found.at_ms for found in _repairable(checked) if found.at_ms not in checked.landed]
    if not at:
        return None
    start, end = (format_time(ms).replace(" ", "T") for ms in (at[0], at[-1] + resolution.step_ms))
    other = "" if resolution.name == "1" else f" --resolution {resolution.name}"
    return f"perps backfill --instruments {checked.window.instrument} --start {start} --end {end}{other}"


def _print_some(lines: Sequence[str], what: str) -> None:
    for line in lines[:SHOWN]:
        print(line)
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN:,} more {what}")


def reconcile(args: argparse.Namespace, settings: Settings) -> int:
    """Load Deribit's own longer candles, have dbt compare them, and say how that came out."""
    wait_s, reached = waiting(args), database(settings)
    base = read_resolution(reached)
    coarse = parse_coarser(args.resolution, base)
    histories = pick(read_histories(reached, base), split_names(args.instruments))
    asked = bars_to_ask(histories, parse_range(args.start, args.end), coarse)
    with loading(args, settings) as loader:
        result = loader.history(asked, coarse, base)
    for name in sorted(asked.keys() & set(result.unlisted)):
        print(f"{name}: no longer known to deribit, not asked for", file=sys.stderr)
    # what is compared has to have read as many loads as what it is compared with
    models = ("perpetuals_ohlcv", "exchange_bars", "ohlcv_reconciliation")
    command = ["run", "--select", *models, *base_variables(base.name)]
    built = run_dbt(command, reached, settings.dbt, wait_s)
    compared = read_buckets(reached, asked, coarse)
    for name, buckets in compared.items():
        print(f"{name} {coarse.name}: {count_buckets(buckets)}")
    odd = [bucket for buckets in compared.values() for bucket in buckets if bucket.status != "identical"]
    _print_some([str(bucket) for bucket in odd], "buckets")
    if whole := sum(bucket.whole for bucket in odd):
        print(f"warning: {whole:,} buckets have all candles and are not what deribit says; try: perps verify")
    if not built:
        raise PerpsError("expected dbt to compare the candles, got failures above")
    return 0


def audit(args: argparse.Namespace, settings: Settings) -> int:
    """Have dbt recompute everything from all candles and compare.

    Raises:
        PerpsError: something differs.
    """
    wait_s, reached = waiting(args), database(settings)
    base = read_resolution(reached)
    command = ["test", "--select", "tag:audit", *base_variables(base.name, audit=True)]
    if not run_dbt(command, reached, settings.dbt, wait_s):
        raise PerpsError(
            "expected the models to be what all candles make of them, got differences above; run: "
            f"{REREAD}, then: perps dbt -- build"
        )
    print("audit passed")
    return 0
