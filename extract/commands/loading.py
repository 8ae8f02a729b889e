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
from extract.gaps import count_filled, read_gaps, read_resolution
from extract.outcome import Outcome
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
    reached = database(settings)
    resolution, gaps = parse_resolution(read_resolution(reached)), read_gaps(reached)
    if not gaps:
        print("no gaps")
        return 0
    if args.dry_run:
        for gap in gaps:
            print(f"would ask for {gap}: {gap.missing(resolution)} candles missing")
        return 0
    holes: dict[str, list[Interval]] = {}
    for gap in gaps:
        holes.setdefault(gap.instrument, []).append(gap.hole(resolution))
    with loading(args, settings) as loader:
        outcome = loader.repair(holes, resolution)
    for gap, filled in zip(gaps, count_filled(reached, gaps), strict=True):
        missing = gap.missing(resolution)
        unlisted = ", no longer listed and not asked" if gap.instrument in outcome.unlisted else ""
        print(f"{gap}: {filled} of {missing} candles found, {missing - filled} not at the source{unlisted}")
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
    """Update, build and report; a part that fails does not keep the others from what they can do."""
    variables = [] if args.resolution == "1" else ["--vars", f"{{base_resolution: '{args.resolution}'}}"]
    parts = (
        lambda: update(args, settings),
        lambda: build(variables, settings),
        lambda: print_report(write_report(database(settings), Path(args.out))),
    )
    failures = []
    for part in parts:
        try:
            part()
        except UsageError:
            raise
        except PerpsError as error:
            failures.append(error)
    for later in failures[1:]:
        print(f"error: {later}", file=sys.stderr)
    if failures:
        raise failures[0]
    return 0


def build(variables: list[str], settings: Settings) -> None:
    """Run dbt build.

    Raises:
        PerpsError: a model or test failed.
    """
    if not run_dbt(["build", *variables], database(settings), settings.project):
        raise PerpsError(
            "expected dbt build to pass, got failures above; the report names gaps and violations"
        )


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
