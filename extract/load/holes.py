"""Holes in the replies of a window, and the ranges to fetch them again; pure functions, UTC milliseconds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike

from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution

SHIFT = 3
"""Number of buckets by which the second request extends beyond the holes on both sides."""


def find_holes(found: ArrayLike, expected: TimeRange, resolution: Resolution) -> list[TimeRange]:
    """Return the runs of buckets without a candle, as ranges [start, end) that begin at a bucket open.

    Holes are found from the distances between candles, because it is unknown where buckets of 180 and 360
    minutes open. If the grid is known, a candle off the grid counts for the bucket that contains it.

    Args:
        found: bucket opens, ascending, all in `expected`.
        expected: bucket opens that should have candles, end exclusive, UTC ms.
        resolution: of the candles.
    """
    start, end = expected
    step = resolution.step_ms
    if start >= end:
        return []
    opens = np.asarray(found, np.int64)
    if len(resolution.anchors_ms) == 1:
        opens = opens - (opens - resolution.anchors_ms[0]) % step
    opens = np.concatenate([[start - step], opens])
    before = np.flatnonzero(np.diff(opens) >= 2 * step)
    holes = [(int(opens[at]) + step, int(opens[at + 1])) for at in before]
    last = int(opens[-1])
    # the end is a bound, not a bucket open: with unknown anchors a whole step need not lie before it
    return [*holes, (last + step, end)] if last + step < end else holes


def plan_second_fetch(
    holes: Sequence[TimeRange], window: TimeRange, fetched: Collection[TimeRange], resolution: Resolution
) -> list[TimeRange]:
    """Return one range that contains all holes, or its two halves if that very range was fetched before.

    The range stays inside the window, because only rows of the window are landed. In a window of a single
    bucket, it is the window itself.

    Args:
        holes: ascending, at least one.
        window: the window that was fetched.
        fetched: the ranges of its fetches.
        resolution: of the candles.
    """
    step = resolution.step_ms
    start = max(holes[0][0] - SHIFT * step, window[0])
    end = min(holes[-1][1] + SHIFT * step, window[1])
    if (start, end) not in fetched:
        return [(start, end)]
    centre = start + (end - start) // 2
    for middle in sorted(range(start + step, end, step), key=lambda at: abs(at - centre)):
        halves = [(start, middle), (middle, end)]
        if not set(halves) & set(fetched):
            return halves
    return [(start, end)]
