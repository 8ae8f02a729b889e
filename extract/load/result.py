"""What a run did, and how it says what it could not do."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from extract.deribit.errors import PermanentError
from extract.errors import PerpsError
from extract.load.fetch import WindowResult
from extract.load.plan import Window

log = logging.getLogger(__name__)

SHOWN_FAILURES = 3


@dataclass
class LoadResult:
    """What a run did.

    Attributes:
        candles: raw candles landed, per instrument: those that were new or had changed.
        requests: answered requests.
        planned: windows planned.
        unlisted: instruments loaded before that Deribit no longer lists, and that were left as they are.
        delisted: those that were asked for, with the end of their last candle with volume, UTC ms.
        nothing: per instrument, why an explicit range can have no candles.
        refused: what is wrong with each listed perpetual that should have been loaded and cannot be.
        failed: windows without a usable answer, first to last.
        not_asked: how many windows were given up unasked.
    """

    candles: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    planned: int = 0
    unlisted: list[str] = field(default_factory=list)
    delisted: dict[str, int] = field(default_factory=dict)
    nothing: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    failed: list[WindowResult] = field(default_factory=list)
    not_asked: int = 0

    @property
    def landed(self) -> bool:
        """Whether the run made a load: candles, evidence or both."""
        return self.requests > 0

    def add(self, results: Sequence[WindowResult]) -> None:
        """Count a landed package."""
        for result in results:
            name = result.window.instrument
            self.candles[name] = self.candles.get(name, 0) + result.landing
            self.requests += len(result.fetches)
            if result.error is not None:
                self.not_asked += not result.asked
                self.failed += [result] if result.asked else []


class IncompleteError(PerpsError):
    """A run that saved what it could, and names what it could not fetch.

    Attributes:
        result: what it did.
    """

    def __init__(self, message: str, result: LoadResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[type[IncompleteError], tuple[str, LoadResult]]:
        return IncompleteError, (str(self), self.result)


def raise_incomplete(result: LoadResult) -> None:
    """Name what could not be fetched, after everything else was saved.

    Raises:
        IncompleteError: there is something to name.
    """
    if not result.failed and not result.not_asked:
        _raise_refused(result)
        return
    shown = "; ".join(
        f"{describe(failed.window)}: {failed.error}" for failed in result.failed[:SHOWN_FAILURES]
    )
    hidden = len(result.failed) - SHOWN_FAILURES
    more = f"; and {hidden} more, see the log" if hidden > 0 else ""
    left = f"; {result.not_asked} windows were not asked" if result.not_asked else ""
    refused = result.failed and all(isinstance(failed.error, PermanentError) for failed in result.failed)
    still = ", and if deribit refuses it again: perps doctor --exchange" if refused else ""
    for failed in result.failed:
        log.error("no answer for %s: %s", describe(failed.window), failed.error)
    raise IncompleteError(
        f"expected an answer for every window, got none for {len(result.failed)} of {result.planned} "
        f"({shown}{more}){left}; the rest is saved, run the same command again{still}",
        result,
    )


def _raise_refused(result: LoadResult) -> None:
    if result.refused:
        raise IncompleteError(
            f"{result.refused[0]}; {len(result.refused)} of deribit's perpetuals cannot be loaded, "
            "the rest is saved; to do without, name those you want in --instruments",
            result,
        )


def describe(window: Window) -> str:
    """Return a window as people write it: instrument and UTC times."""
    start, end = (
        datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
        for ms in (window.start_ms, window.end_ms)
    )
    return f"{window.instrument} {start}..{end}"
