"""Commands that load candles: backfill, update, run and demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from extract.commands.reading import print_report
from extract.commands.shared import at_least, client, database, split_names
from extract.demo import run_demo
from extract.errors import PerpsError, UsageError
from extract.gaps import count_filled, read_gaps
from extract.outcome import IncompleteError, Outcome
from extract.pipeline import Loader
from extract.progress import shown_progress
from extract.report.evidence import write_report
from extract.resolution import parse_resolution
from extract.settings import Settings
from extract.times import parse_range
from extract.transform import run_dbt
from extract.windows import Interval


def backfill(args: argparse.Namespace, settings: Settings) -> int:
    """Load an explicit range."""
    names = split_names(args.instruments)
    if not names:
        raise UsageError("expected --instruments with names or 'all', got none; see: perps instruments")
    resolution, wanted = parse_resolution(args.resolution), parse_range(args.start, args.end)
    with loading(args, settings) as loader:
        outcome = loader.backfill(names, resolution, wanted)
    print_outcome(outcome)
    return 0


def update(args: argparse.Namespace, settings: Settings) -> int:
    """Load what is new."""
    names, resolution = split_names(args.instruments), parse_resolution(args.resolution)
    with loading(args, settings) as loader:
        outcome = loader.update(names, resolution)
    print_outcome(outcome)
    return 0


def repair(args: argparse.Namespace, settings: Settings) -> int:
    """Ask again for every gap; the next dbt build brings in what came."""
    resolution, reached = parse_resolution(args.resolution), database(settings)
    gaps = read_gaps(reached)
    if not gaps:
        print("no gaps")
        return 0
    holes: dict[str, list[Interval]] = {}
    for gap in gaps:
        holes.setdefault(gap.instrument, []).append(gap.hole(resolution))
    if args.dry_run:
        for gap in gaps:
            print(f"would ask for {gap}: {gap.missing(resolution)} candles missing")
        return 0
    with loading(args, settings) as loader:
        loader.repair(holes, resolution)
    for gap in gaps:
        filled, missing = count_filled(reached, gap, resolution), gap.missing(resolution)
        print(f"{gap}: {filled} of {missing} candles found, {missing - filled} not at the source")
    print("next: perps dbt -- build")
    return 0


@contextmanager
def loading(args: argparse.Namespace, settings: Settings) -> Iterator[Loader]:
    """Yield the loader that the flags describe, with its progress on the screen.

    Raises:
        UsageError: a flag cannot be used.
    """
    lookback = at_least(0, args.lookback, "--lookback")
    package = at_least(1, args.package_candles, "--package-candles")
    deribit, reached = client(settings), database(settings)
    with shown_progress() as progress:
        yield Loader(deribit, reached, settings.pipelines, lookback, progress, package)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Update, build and report; a failed part does not keep the others from what they can do."""
    incomplete: IncompleteError | None = None
    try:
        update(args, settings)
    except IncompleteError as error:
        incomplete = error
    variables = [] if args.resolution == "1" else ["--vars", f"{{base_resolution: '{args.resolution}'}}"]
    built = run_dbt(["build", *variables], database(settings), settings.project)
    print_report(write_report(database(settings), Path(args.out)))
    if incomplete:
        raise incomplete
    if not built:
        raise PerpsError(
            "expected dbt build to pass, got failures above; the report names gaps and violations"
        )
    return 0


def demo(args: argparse.Namespace, settings: Settings) -> int:
    """Show the whole flow on synthetic candles."""
    run_demo(settings, Path(args.out) / "demo", print)
    return 0


def print_outcome(outcome: Outcome) -> None:
    """Say what was landed."""
    for name, candles in outcome.candles.items():
        print(f"{name}: {candles:,} candles landed")
    for name in outcome.unlisted:
        print(f"{name}: no longer listed by deribit, left as it is", file=sys.stderr)
    print(
        f"{sum(outcome.candles.values()):,} candles in {outcome.requests} requests; next: perps dbt -- build"
    )
