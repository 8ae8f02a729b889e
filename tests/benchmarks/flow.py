"""Update, build and test in one go: `perps run`, as this version has it."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cache

from extract.cli.parser import build_parser
from extract.database.database import Database
from tests.benchmarks.stage import Cost, Exchange, Stage

BUILD = ("dbt", "--", "build", "--exclude-resource-type", "unit_test")


@dataclass(frozen=True)
class Whole:
    """What it cost, and how it was run; `started` in unix seconds."""

    costs: tuple[Cost, ...]
    how: str

    @property
    def started(self) -> float:
        """Return when the first command began."""
        return self.costs[0].started

    @property
    def seconds(self) -> float:
        """Return the seconds of the commands."""
        return sum(cost.seconds for cost in self.costs)


@cache
def has_no_report() -> bool:
    """Tell whether `perps run` can be told to leave the page out."""
    try:
        with redirect_stderr(io.StringIO()):
            build_parser().parse_args(["run", "--no-report"])
    except SystemExit:
        return False
    return True


def run_everything(
    stage: Stage, database: Database, exchange: Exchange, instruments: str, *, may_fail: bool = False
) -> Whole:
    """Load what is new, build it and test it."""
    flags = ("--instruments", instruments)
    if has_no_report():
        command = ("run", *flags, "--no-report")
        cost = stage.perps(*command, database=database, exchange=exchange, may_fail=may_fail)
        return Whole((cost,), "run: perps run --no-report, one process.")
    update = stage.perps("update", *flags, database=database, exchange=exchange, may_fail=may_fail)
    build = stage.perps(*BUILD, database=database, exchange=exchange, may_fail=may_fail)
    return Whole(
        (update, build), "run: perps update, then perps dbt -- build, because run has no --no-report."
    )
