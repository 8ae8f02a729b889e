"""Holes in what a window's replies brought, and how to ask for them a second time: pure, UTC milliseconds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike

from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution

SHIFT = 3
"""Buckets by which a second ask is shifted: how far it reaches beyond the holes, and begins before."""


def find_holes(found: ArrayLike, asked: TimeRange, resolution: Resolution) -> list[TimeRange]:
    """Return the runs of buckets without a candle, as ranges [start, end) that begin at a bucket open.

    Distances between candles decide, because nobody knows where buckets of 180 and 360 minutes open. Where
    the grid is known, a candle off it stands for the bucket that it lies in.

    Args:
        found: bucket opens, ascending, all in `asked`.
        asked: bucket opens that should have candles, end exclusive.
        resolution: of the candles.
    """
    start, end = asked
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


def plan_second_ask(
    holes: Sequence[TimeRange], window: TimeRange, asked: Collection[TimeRange], resolution: Resolution
) -> list[TimeRange]:
    """Return the range that asks for all holes again, in two halves where it was asked as a whole before.

    It stays inside the window: what an answer speaks for must be what is landed of it. A window of a single
    bucket has no other range than itself.

    Args:
        holes: ascending, at least one.
        window: what was asked.
        asked: the ranges that were answered before.
        resolution: of the candles.
    """
    step = resolution.step_ms
    start = max(holes[0][0] - SHIFT * step, window[0])
    end = min(holes[-1][1] + SHIFT * step, window[1])
    if (start, end) not in asked:
        return [(start, end)]
    centre = start + (end - start) // 2
    for middle in sorted(range(start + step, end, step), key=lambda at: abs(at - centre)):
        halves = [(start, middle), (middle, end)]
        if not set(halves) & set(asked):
            return halves
    return [(start, end)]
