"""`perps run --every`: the run that stays. It wakes after each minute; dbt, threads and connections stay."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from extract.cli.loading import make_loader, share_memory
from extract.cli.shared import client
from extract.cli.steps import Steps
from extract.core.messages import one_line
from extract.core.names import ENDPOINTS
from extract.core.resolution import HOUR_MS, MINUTE_MS
from extract.core.schedule import is_due, next_wake, parse_length
from extract.core.times import format_time
from extract.deribit.budget import MAX_BURST
from extract.errors import PerpsError, UsageError
from extract.load.plan import LATE_MS
from extract.load.prefetch import fetch_threads
from extract.report.metrics import Metrics, serve
from extract.settings import Settings
from extract.transform.background import Builder
from extract.transform.failures import NodesFailedError
from extract.transform.runner import base_variables

log = logging.getLogger(__name__)

SHORTEST_MS = 1_000
RETRY_MS = 10 * MINUTE_MS
CANDLES, OTHERS = ENDPOINTS[:1], ENDPOINTS[1:]
UPDATE, BUILD = ("update", "update of funding and settlements"), ("build of a minute", "build of an hour")
"""The names of the steps, of candles and of the others."""
DEFAULT_DELAY = "200ms"

Sleep = Callable[[float], None]


def stay(args: argparse.Namespace, settings: Settings, sleep: Sleep = time.sleep) -> int:
    """Run again and again until a signal ends it; what fails is said once, and tried again.

    Args:
        args: the flags of `perps run`.
        settings: where to ask and where to land.
        sleep: waits that many seconds between two runs.

    Raises:
        UsageError: the command cannot be carried out as typed.
        KeyboardInterrupt: a signal ended it.
    """
    every_ms = parse_length(args.every, "--every", SHORTEST_MS)
    delay_ms = parse_length(args.at or DEFAULT_DELAY, "--at", 0) % every_ms
    deribit = client(settings, MAX_BURST)
    share_memory()
    with ExitStack() as stack:
        pool = stack.enter_context(fetch_threads())
        loader = make_loader(args, settings, deribit, pool)
        metrics = Metrics(deribit.budget, loader.database)
        if args.metrics:
            stack.callback(serve(metrics, args.metrics))
        variables = base_variables(args.resolution)
        builder = stack.enter_context(Builder(loader.database, settings.dbt, variables, loader.wait_s))
        run = StayingRun(Steps(args, loader, builder), settings, metrics)
        run.turn()
        print(f"looking for new candles every {every_ms / 1000:g} s; see {settings.logs / 'perps.log'}")
        while True:
            now_ms = deribit.now_ms()
            sleep((next_wake(now_ms, every_ms, delay_ms) - now_ms) / 1000)
            run.turn()


@dataclass
class StayingRun:
    """The run between two waits.

    Attributes:
        steps: what a turn consists of.
        settings: where the embedded server is, which is started again if it has stopped.
        metrics: what is counted.
        done_ms: when each step that is done once an hour or day was last done, Deribit's clock, UTC ms.
        asked_ms: when funding and settlements were last requested, Deribit's clock, UTC ms.
        said: by step, which failure was printed last and since when it fails, monotonic seconds.
    """

    steps: Steps
    settings: Settings
    metrics: Metrics
    done_ms: dict[str, int] = field(default_factory=dict)
    said: dict[str, tuple[str, float]] = field(default_factory=dict)
    asked_ms: int = 0

    def __post_init__(self) -> None:
        self.steps.ended = self.ended

    def turn(self) -> None:
        """Load and build what is new, and do what is due.

        Raises:
            UsageError: in the first turn, the command cannot be carried out as typed.
            KeyboardInterrupt: a signal ended it.
        """
        steps, first = self.steps, not self.steps.quiet
        steps.loader.client.resume()
        try:
            steps.loader = replace(steps.loader, database=self.settings.database())
            if first:
                self.metrics.landed(steps.update())
            elif self._load_and_build(CANDLES, UPDATE[0], BUILD[0]) and self._may_have_come():
                self._load_and_build(OTHERS, UPDATE[1], BUILD[1])
            self._do_what_is_due()
        except PerpsError as error:
            if first and isinstance(error, UsageError):
                raise
            self.ended("update", 0.0, error)
        steps.quiet = True

    def _load_and_build(self, endpoints: Sequence[str], update: str, build: str) -> bool:
        """Load what is new and build it; return whether anything could be loaded at all."""
        result = self.steps.update(endpoints, update)
        self.metrics.landed(result)
        failed = build in self.steps.failures
        landed = [one for one in endpoints if failed or (result and sum(result.of(one).values()))]
        if landed:
            self.steps.build_minute(landed, build)
        return result is not None

    def _may_have_come(self) -> bool:
        """Return whether there may be rows of funding or settlements: in the first minutes of an hour.

        They are loaded after the candles, so that an outage of theirs delays none. While it lasts they are
        requested every ten minutes.
        """
        now_ms = self.steps.loader.client.now_ms()
        failing = UPDATE[1] in self.steps.failures
        due = now_ms - self.asked_ms >= RETRY_MS if failing else now_ms % HOUR_MS < LATE_MS
        if due or not self.asked_ms:
            self.asked_ms = now_ms
            return True
        return False

    def _do_what_is_due(self) -> None:
        steps, args = self.steps, self.steps.args
        if self._is_due("build", "hourly"):
            steps.build()
            steps.keep_up()
        if self._is_due("repair", args.repair or "daily"):
            steps.repair()
        if self._is_due("report", args.report or "daily"):
            steps.report()

    def _is_due(self, step: str, period: str) -> bool:
        """Return whether a step is due, and enter it as done; `ended` takes that back if it fails."""
        now_ms = self.steps.loader.client.now_ms()
        due = is_due(period, self.done_ms.get(step), now_ms)
        if due:
            self.done_ms[step] = now_ms
        return due

    def ended(self, step: str, seconds: float, failure: PerpsError | None) -> None:
        """Count a step, and print its failure unless the same was printed before, or that it works again."""
        self.metrics.ended(step, seconds, failure)
        log.info("%s: %.2f s", step, seconds)
        if failure is None:
            if before := self.said.pop(step, None):
                print(f"{step} works again, after {time.monotonic() - before[1]:.0f} s")
            return
        log.error("%s: %s", step, failure, extra={"shown": True})
        nodes = failure.failed if isinstance(failure, NodesFailedError) else ()
        if not nodes or any(node.kind != "test" for node in nodes):
            self.done_ms.pop(step, None)  # a failed test fails again until somebody mends what it found
        kind = f"{type(failure).__name__} {[node.name for node in nodes]}"
        known, since = self.said.get(step, ("", time.monotonic()))
        self.said[step] = (kind, since)
        if kind != known:
            at = format_time(self.steps.loader.client.now_ms())
            print(f"error: {at} {step}: {one_line(str(failure))}", file=sys.stderr)
