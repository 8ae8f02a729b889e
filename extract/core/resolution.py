"""Deribit's candle resolutions: the length of a bucket and where buckets open, in UTC milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extract.errors import UsageError

if TYPE_CHECKING:  # the command line imports this and must start without numpy
    import numpy as np
    import numpy.typing as npt

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Resolution:
    """One of the resolutions that `get_tradingview_chart_data` takes.

    Attributes:
        name: as the API spells it: minutes, or `1D`.
        step_ms: length of a bucket in milliseconds.
        anchors_ms: where buckets may open, as offsets from midnight UTC in ms. 720 and 1D open at 08:00, the
            settlement (FACTS: seen). For 180 and 360 it is unknown which of the two holds: both are allowed.
    """

    name: str
    step_ms: int
    anchors_ms: tuple[int, ...] = (0,)

    @property
    def lag_seconds(self) -> float:
        """Length of a bucket in seconds, the unit of dlt's `lag` on a datetime cursor."""
        return self.step_ms / 1000

    def floor(self, at_ms: int) -> int:
        """Return the open of the bucket that contains `at_ms`, counted from the first anchor."""
        anchor = self.anchors_ms[0]
        return (at_ms - anchor) // self.step_ms * self.step_ms + anchor

    def ceil(self, at_ms: int) -> int:
        """Return the first bucket open at or after `at_ms`, counted from any anchor."""
        return min(-(-(at_ms - anchor) // self.step_ms) * self.step_ms + anchor for anchor in self.anchors_ms)

    def count_off_grid(self, times_ms: npt.NDArray[np.int64]) -> int:
        """Return how many of the times, UTC ms, are not a bucket open of this resolution."""
        opens = {anchor % self.step_ms for anchor in self.anchors_ms}
        return len(times_ms) - int(sum((times_ms % self.step_ms == rest).sum() for rest in opens))

    def closed_end(self, now_ms: int) -> int:
        """Return the exclusive end of closed buckets, UTC ms: those that open before it are over at `now_ms`.

        `now_ms` must be Deribit's clock: a local clock that is ahead would admit the forming candle.
        """
        if len(self.anchors_ms) == 1:
            return self.floor(now_ms)
        return now_ms - self.step_ms + 1


RESOLUTIONS = {
    found.name: found
    for found in (
        *(Resolution(str(minutes), minutes * MINUTE_MS) for minutes in (1, 3, 5, 10, 15, 30, 60, 120)),
        *(Resolution(str(minutes), minutes * MINUTE_MS, (0, 2 * HOUR_MS)) for minutes in (180, 360)),
        Resolution("720", 12 * HOUR_MS, (8 * HOUR_MS,)),
        Resolution("1D", DAY_MS, (8 * HOUR_MS,)),
    )
}


def parse_resolution(text: str) -> Resolution:
    """Return the resolution named `text`.

    Raises:
        UsageError: Deribit has no such resolution.
    """
    try:
        return RESOLUTIONS[text.upper()]
    except KeyError:
        raise UsageError(f"expected a resolution of {', '.join(RESOLUTIONS)}, got {text!r}") from None
