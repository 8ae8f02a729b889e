"""`perps run --every`: a run that stays, so that dbt, threads and connections are ready each minute."""

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
"""The names of the update and build steps, each for candles and for the other endpoints."""
DEFAULT_DELAY = "200ms"

Sleep = Callable[[float], None]


def stay(args: argparse.Namespace, settings: Settings, sleep: Sleep = time.sleep) -> int:
    """Run a turn at each interval until a signal ends it. A step that fails is tried again in the next turn.

    Args:
        args: the flags of `perps run`.
        settings: has the API, the database and the folders.
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
    """The state of a run that stays, and its turns.

    Attributes:
        steps: the steps of a turn.
        settings: has the embedded server, which is started again if it has stopped.
        metrics: counts what the run does.
        done_ms: by step that is due once an hour or day, when it was last done, by Deribit's clock, UTC ms.
        printed: by failing step, the failure printed last, and since when the step fails, monotonic seconds.
        requested_ms: when funding and settlements were last requested, by Deribit's clock, UTC ms.
    """

    steps: Steps
    settings: Settings
    metrics: Metrics
    done_ms: dict[str, int] = field(default_factory=dict)
    printed: dict[str, tuple[str, float]] = field(default_factory=dict)
    requested_ms: int = 0

    def __post_init__(self) -> None:
        self.steps.ended = self.ended

    def turn(self) -> None:
        """Load and build what is new, then run the steps that are due.

        Raises:
            UsageError: in the first turn: the command cannot be carried out as typed.
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
        """Load and build what is new; return whether the load succeeded at least in part."""
        result = self.steps.update(endpoints, update)
        self.metrics.landed(result)
        failed = build in self.steps.failures
        landed = [one for one in endpoints if failed or (result and sum(result.of(one).values()))]
        if landed:
            self.steps.build_minute(landed, build)
        return result is not None

    def _may_have_come(self) -> bool:
        """Return whether to request funding and settlements: in the first minutes of an hour.

        They are loaded after the candles, so that their failure delays no candle. After a failure they are
        requested every ten minutes.
        """
        now_ms = self.steps.loader.client.now_ms()
        failing = UPDATE[1] in self.steps.failures
        due = now_ms - self.requested_ms >= RETRY_MS if failing else now_ms % HOUR_MS < LATE_MS
        if due or not self.requested_ms:
            self.requested_ms = now_ms
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
        """Return whether a step is due. If so, enter it as done; `ended` undoes that if the step fails."""
        now_ms = self.steps.loader.client.now_ms()
        due = is_due(period, self.done_ms.get(step), now_ms)
        if due:
            self.done_ms[step] = now_ms
        return due

    def ended(self, step: str, seconds: float, failure: PerpsError | None) -> None:
        """Count a step. Print its failure if that is new, or that the step works again after a failure."""
        self.metrics.ended(step, seconds, failure)
        log.info("%s: %.2f s", step, seconds)
        if failure is None:
            if before := self.printed.pop(step, None):
                print(f"{step} works again, after {time.monotonic() - before[1]:.0f} s")
            return
        log.error("%s: %s", step, failure, extra={"shown": True})
        nodes = failure.failed if isinstance(failure, NodesFailedError) else ()
        if not nodes or any(node.kind != "test" for node in nodes):
            self.done_ms.pop(step, None)  # but not for tests: they fail again until a person acts on them
        kind = f"{type(failure).__name__} {[node.name for node in nodes]}"
        known, since = self.printed.get(step, ("", time.monotonic()))
        self.printed[step] = (kind, since)
        if kind != known:
            at = format_time(self.steps.loader.client.now_ms())
            print(f"error: {at} {step}: {one_line(str(failure))}", file=sys.stderr)
