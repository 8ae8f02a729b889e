"""Progress of a run: a progress bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_ROWS = 10_000
LINE_EVERY_S = 10.0
LINE_AT_MOST_EVERY_S = 1.0


class RunProgress(Protocol):
    """Called by a run while it works; several threads call `fetched`."""

    def planned(self, windows: int) -> None:
        """Set the number of windows."""

    def fetched(self, rows: int) -> None:
        """Report a fetched window with that many rows."""

    def landed(self, rows: int) -> None:
        """Report a complete package with that many new or changed rows."""


class Silent:
    """Shows nothing."""

    def planned(self, windows: int) -> None:
        """Do nothing."""

    def fetched(self, rows: int) -> None:
        """Do nothing."""

    def landed(self, rows: int) -> None:
        """Do nothing."""


class Lines:
    """A line every 10,000 rows (at most one a second) or every 10 seconds.

    Args:
        write: called with each line.
        clock: monotonic seconds.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._lock = threading.Lock()
        self._windows = self._done = self._fetched = self._landed = self._shown = 0
        self._shown_at = clock()

    def planned(self, windows: int) -> None:
        """Remember the size of the plan."""
        self._windows = windows

    def fetched(self, rows: int) -> None:
        """Count, and write a line when one is due."""
        with self._lock:
            self._done += 1
            self._fetched += rows
            waited, new = self._clock() - self._shown_at, self._fetched - self._shown
            due = new >= LINE_EVERY_ROWS and waited >= LINE_AT_MOST_EVERY_S
            if due or waited >= LINE_EVERY_S:
                self._line()

    def landed(self, rows: int) -> None:
        """Count, and write a line."""
        with self._lock:
            self._landed += rows
            self._line()

    def _line(self) -> None:
        self._shown, self._shown_at = self._fetched, self._clock()
        self._write(
            f"{self._done} of {self._windows} windows, "
            f"{self._fetched:,} rows fetched, {self._landed:,} landed"
        )


class Bar:
    """A rich progress bar of windows, with rows fetched and landed beside it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("windows", total=None, fetched=0, landed=0)
        self._lock = threading.Lock()
        self._fetched = self._landed = 0

    def planned(self, windows: int) -> None:
        """Give the bar its length."""
        self._bar.update(self._task, total=windows)

    def fetched(self, rows: int) -> None:
        """Advance by a window."""
        with self._lock:
            self._fetched += rows
            self._bar.update(self._task, advance=1, fetched=self._fetched)

    def landed(self, rows: int) -> None:
        """Show the number of landed rows."""
        with self._lock:
            self._landed += rows
            self._bar.update(self._task, landed=self._landed)


@contextmanager
def shown_progress() -> Iterator[RunProgress]:
    """Show a run's progress on stderr, as suits what stderr is."""
    if not sys.stderr.isatty():
        yield Lines(lambda line: print(line, file=sys.stderr, flush=True))
        return
    columns = (
        TextColumn("{task.completed}/{task.total} windows"),
        BarColumn(),
        TextColumn("{task.fields[fetched]:,} rows fetched, {task.fields[landed]:,} landed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield Bar(bar)
