"""`perps repair`: fetch the gaps that the last dbt build found."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from extract.check.gaps import Found, Gap, count_found, read_gaps, split_due
from extract.cli import flags
from extract.cli.loading import loading
from extract.core.ranges import TimeRange
from extract.core.times import format_time
from extract.load.endpoint import Endpoint
from extract.load.loader import Loader
from extract.settings import Settings
from extract.transform.models import read_checked_at, read_resolution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps repair`."""
    parser.add_argument("--dry-run", action="store_true", help="print what would be fetched, and stop")
    parser.add_argument(
        "--again",
        action="store_true",
        help="also fetch gaps for which Deribit had no usable rows less than a day ago",
    )
    flags.load(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Fetch every gap that is due; the next dbt build adds the rows to the tables."""
    if args.dry_run:
        return _print_plan(args, settings)
    with loading(args, settings) as loader:
        landed = repair_gaps(loader, again=args.again)
    if landed:
        print("next: perps dbt -- build")
    return 0


def _print_plan(args: argparse.Namespace, settings: Settings) -> int:
    database = settings.database()
    resolution = read_resolution(database)
    gaps = read_gaps(database, resolution)
    due, resting = _split(gaps, read_checked_at(database), again=args.again)
    for gap in due:
        print(f"would fetch {gap}: {gap.missing} {_rows(gap)} missing ({gap.reason})")
    _print_resting(resting)
    if not gaps:
        print("no gaps")
    return 0


def repair_gaps(loader: Loader, *, again: bool = False) -> bool:
    """Fetch the gaps of the last build that are due, and print how many rows were found.

    Args:
        loader: the loader.
        again: also fetch gaps that were fetched less than a day ago.

    Returns:
        Whether anything was loaded.

    Raises:
        PerpsError: the models are not built yet, or a window could not be fetched.
    """
    resolution = read_resolution(loader.database)
    gaps = read_gaps(loader.database, resolution)
    if not gaps:
        print("no gaps")
        return False
    due, resting = _split(gaps, loader.client.server_time().result, again=again)
    landed = _fetch(loader, due) if due else False
    _print_resting(resting)
    return landed


def _split(gaps: Iterable[Gap], now_ms: int, *, again: bool) -> tuple[list[Gap], list[Gap]]:
    return (list(gaps), []) if again else split_due(gaps, now_ms)


def _fetch(loader: Loader, gaps: list[Gap]) -> bool:
    holes: dict[Endpoint, dict[str, list[TimeRange]]] = {}
    for gap in gaps:
        holes.setdefault(gap.endpoint, {}).setdefault(gap.instrument, []).append(gap.time_range)
    result = loader.repair(holes)
    for gap, found in zip(gaps, count_found(loader.database, gaps), strict=True):
        unlisted = gap.instrument in result.unlisted
        print(_unlisted_line(gap) if unlisted else _fetched_line(gap, found))
    return result.landed


def _rows(gap: Gap) -> str:
    return "candles" if gap.endpoint.has_resolution else "rows"


def _fetched_line(gap: Gap, found: Found) -> str:
    absent = max(0, gap.missing - found.usable - found.unusable)
    unusable = f", {found.unusable} unusable" if found.unusable else ""
    return f"{gap}: {found.usable} of {gap.missing} {_rows(gap)} found, {absent} not at deribit{unusable}"


def _unlisted_line(gap: Gap) -> str:
    return f"{gap}: {gap.missing} {_rows(gap)} missing, no longer known to deribit"


def _print_resting(gaps: list[Gap]) -> None:
    for gap in gaps:
        print(f"skipped {gap}: {gap.missing} {_rows(gap)} missing, {_why_resting(gap)}")


def _why_resting(gap: Gap) -> str:
    if gap.waiting:
        return "fetched since the last build; next: perps dbt -- build"
    return (
        f"deribit had no usable ones at {format_time(gap.fetched_ms or 0)}; "
        f"due again at {format_time(gap.resting_until_ms)}, or now with --again"
    )
