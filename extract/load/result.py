"""The result of a run, and the error that names what it could not fetch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from extract.core.names import ENDPOINTS
from extract.deribit.errors import PermanentError
from extract.errors import PerpsError
from extract.load.fetch import WindowResult
from extract.load.plan import Window

log = logging.getLogger(__name__)

SHOWN_FAILURES = 3


@dataclass
class LoadResult:
    """The result of a run.

    Attributes:
        candles, funding, settlements: per instrument, the number of raw rows landed, which were new or had
            changed.
        requests: number of answered requests.
        planned: number of planned windows.
        unlisted: instruments loaded before that Deribit no longer lists, and that were skipped.
        delisted: fetched delisted instruments, with the end of their last candle with volume, UTC ms.
        nothing: per instrument without rows, why Deribit has no candle in the time range.
        refused: messages about listed perpetuals that cannot be loaded.
        failed: results of the windows that failed, in order.
        not_asked: number of windows that were given up without a request.
    """

    candles: dict[str, int] = field(default_factory=dict)
    funding: dict[str, int] = field(default_factory=dict)
    settlements: dict[str, int] = field(default_factory=dict)
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
        """Whether the run made a load, which has candles, fetches or both."""
        return self.requests > 0

    @property
    def rows(self) -> int:
        """Number of rows landed."""
        return sum(sum(self.of(endpoint).values()) for endpoint in ENDPOINTS)

    def of(self, endpoint: str) -> dict[str, int]:
        """Return the number of raw rows landed per instrument, by the name of an endpoint."""
        landed: dict[str, int] = getattr(self, endpoint)
        return landed

    def add(self, results: Sequence[WindowResult]) -> None:
        """Count a landed package."""
        for result in results:
            name = result.window.instrument
            landed = self.of(result.window.endpoint.table)
            landed[name] = landed.get(name, 0) + result.landing
            self.requests += len(result.fetches)
            if result.error is not None:
                self.not_asked += not result.requested
                self.failed += [result] if result.requested else []


class IncompleteError(PerpsError):
    """A run could not fetch all windows; the others are saved.

    Attributes:
        result: the result of the run.
    """

    def __init__(self, message: str, result: LoadResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[type[IncompleteError], tuple[str, LoadResult]]:
        return IncompleteError, (str(self), self.result)


def raise_incomplete(result: LoadResult) -> None:
    """Raise an error that names the failed windows, after everything else was saved.

    Raises:
        IncompleteError: there are failed windows or refused perpetuals.
    """
    if not result.failed and not result.not_asked:
        _raise_refused(result)
        return
    shown = "; ".join(
        f"{describe(failed.window)}: {failed.error}" for failed in result.failed[:SHOWN_FAILURES]
    )
    hidden = len(result.failed) - SHOWN_FAILURES
    more = f"; and {hidden} more, see the log" if hidden > 0 else ""
    left = f"; {result.not_asked} windows were not requested" if result.not_asked else ""
    refused = result.failed and all(isinstance(failed.error, PermanentError) for failed in result.failed)
    still = ", and if deribit refuses it again: perps doctor --exchange" if refused else ""
    for failed in result.failed:
        log.error("no usable reply for %s: %s", describe(failed.window), failed.error)
    raise IncompleteError(
        f"could not fetch {len(result.failed)} of {result.planned} windows ({shown}{more}){left}; "
        f"the others are saved, run the same command again{still}",
        result,
    )


def _raise_refused(result: LoadResult) -> None:
    if result.refused:
        raise IncompleteError(
            f"{result.refused[0]}; {len(result.refused)} of deribit's perpetuals cannot be loaded, "
            "the others are saved; to skip it, name the ones you want in --instruments",
            result,
        )


def describe(window: Window) -> str:
    """Return a window as text: instrument and UTC times; the endpoint too, if it is not candles."""
    start, end = (
        datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
        for ms in (window.start_ms, window.end_ms)
    )
    what = "" if window.endpoint.has_resolution else f"{window.endpoint.table} of "
    return f"{what}{window.instrument} {start}..{end}"
