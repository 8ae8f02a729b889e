"""`perps verify`: compare stored rows with what Deribit returns now."""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence

from extract.check.differences import REPAIRABLE, Checked, Difference
from extract.check.verify import check_windows, cut_histories, draw_windows
from extract.cli import flags
from extract.cli.shared import REREAD, client, print_some
from extract.core.names import TABLES, parse_endpoints, split_names
from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution
from extract.core.times import format_time, parse_range
from extract.database.database import Database
from extract.errors import PerpsError, UsageError
from extract.load.endpoint import Endpoint, endpoints
from extract.load.selection import check_origin
from extract.settings import Settings
from extract.transform.models import pick, read_built, read_histories, read_origin, read_resolution

DEFAULT_SAMPLE = 10
SEEDS = 2**32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps verify`."""
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="number of random windows to compare; each has up to 5,000 candles or 720 funding rates, or all "
        "settlements of an instrument (default: 10)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="random seed; repeat a printed seed to check the same windows"
    )
    flags.times(parser, "the first row of a table", "its last; a range is compared in full")
    flags.instruments(parser, "one in the table", "the default")
    flags.only(parser, "compare")
    flags.api(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Compare windows of the tables with Deribit, and print commands that fix the differences."""
    ranged = args.start is not None or args.end is not None
    if ranged and (args.sample is not None or args.seed is not None):
        raise UsageError("expected --sample and --seed, or --start and --end, got both; use one pair")
    sample = DEFAULT_SAMPLE if args.sample is None else args.sample
    if sample < 1:
        raise UsageError(f"expected --sample of at least 1 window, got {sample}")
    seed = random.SystemRandom().randrange(SEEDS) if args.seed is None else args.seed
    database, deribit = settings.database(), client(settings)
    histories = _read_histories(args, database)
    clock = deribit.server_time()
    check_origin(read_origin(database), clock.origin)
    listed = {found.name: found.created_ms for found in deribit.instruments().perpetuals}
    if ranged:
        ranges = {one: _typed_ranges(args, histories[one], listed, one.resolution) for one in histories}
        windows = cut_histories(ranges, clock.result)
    else:
        windows = draw_windows(histories, clock.result, sample, seed)
    checked = list(check_windows(deribit, database, windows, listed))
    return _print_checked(checked, None if ranged else seed)


def _read_histories(args: argparse.Namespace, database: Database) -> dict[Endpoint, dict[str, TimeRange]]:
    """Return what the tables have of the named instruments.

    Raises:
        UsageError: no table has rows of a named instrument; with --only, any named table has none.
    """
    resolution, names = read_resolution(database), split_names(args.instruments)
    histories = {
        one: read_histories(database, one.resolution, one.table)
        for one in endpoints(parse_endpoints(args.only or read_built(database)), resolution)
    }
    if not args.only:  # a table may be empty, or lack an instrument, because that was never loaded
        known = {name: history for found in histories.values() for name, history in found.items()}
        chosen = pick(known, names)
        return {
            one: {name: found[name] for name in found if name in chosen} for one, found in histories.items()
        }
    return {one: pick(found, names, one.table) for one, found in histories.items()}


def _typed_ranges(
    args: argparse.Namespace,
    histories: Mapping[str, TimeRange],
    listed: Mapping[str, int],
    resolution: Resolution,
) -> dict[str, TimeRange]:
    """Return per instrument the time range of --start and --end; the table's bounds are the defaults.

    A delisted instrument ends with the table's last candle, because Deribit returns flat candles for ever
    after it.
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


def _print_checked(checked: Sequence[Checked], seed: int | None) -> int:
    """Print the differences, the totals, and commands that fix the differences.

    Raises:
        PerpsError: there are differences.
    """
    differences = [difference for each in checked for difference in each.differences]
    print_some([str(difference) for difference in differences], "differences")
    compared = sum(each.rows for each in checked)
    drawn = "" if seed is None else f" (--seed {seed})"
    print(f"{len(checked)} windows, {compared:,} rows compared, {len(differences):,} differences{drawn}")
    if not differences:
        return 0
    lines = [line for each in checked if (line := _backfill_line(each))]
    behind = {
        each.window.endpoint.table
        for each in checked
        if any(difference.at_ms in each.landed for difference in _repairable(each))
    }
    lines[:0] = [REREAD.format(TABLES[endpoint]) for endpoint in sorted(behind)]
    print_some(lines, "commands")
    raise PerpsError(
        f"the tables differ from deribit in {len(differences):,} rows; "
        "run the perps lines above, if any, then: perps dbt -- build"
    )


def _repairable(checked: Checked) -> list[Difference]:
    return [difference for difference in checked.differences if difference.kind in REPAIRABLE]


def _backfill_line(checked: Checked) -> str | None:
    """Return the command that loads a window's changed and missing rows; None if raw has all of them."""
    at = [found.at_ms for found in _repairable(checked) if found.at_ms not in checked.landed]
    if not at:
        return None
    endpoint, resolution = checked.window.endpoint, checked.window.resolution
    start, end = (format_time(ms).replace(" ", "T") for ms in (at[0], at[-1] + resolution.step_ms))
    other = f" --resolution {resolution.name}" if endpoint.has_resolution and resolution.name != "1" else ""
    line = f"perps backfill --instruments {checked.window.instrument} --start {start} --end {end}{other}"
    return f"{line} --only {endpoint.table}"
