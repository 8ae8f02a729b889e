"""Time ranges [start, end) in UTC ms, and sets of them: pure."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]  # start inclusive, end exclusive


def subtract(intervals: Iterable[Interval], answered: Iterable[Interval]) -> list[Interval]:
    """Return what is left of `intervals` without `answered`, ascending and merged."""
    left = merge(intervals)
    for start, end in answered:
        left = [part for a, b in left for part in ((a, min(b, start)), (max(a, end), b)) if part[0] < part[1]]
    return merge(left)


def intersect(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """Return what `intervals` and `others` have in common, ascending and merged."""
    merged = merge(intervals)
    return subtract(merged, subtract(merged, others))


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same times as ascending intervals that neither overlap nor touch; empty ones vanish."""
    merged: list[Interval] = []
    for start, end in sorted(i for i in intervals if i[0] < i[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
