"""Time ranges [start, end) in UTC ms, and sets of them; pure functions."""

from __future__ import annotations

from collections.abc import Iterable

TimeRange = tuple[int, int]
"""Half-open: start inclusive, end exclusive, UTC ms."""


def subtract(ranges: Iterable[TimeRange], others: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the parts of `ranges` outside `others`, ascending and merged."""
    left = merge(ranges)
    for start, end in others:
        left = [part for a, b in left for part in ((a, min(b, start)), (max(a, end), b)) if part[0] < part[1]]
    return merge(left)


def intersect(ranges: Iterable[TimeRange], others: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the parts of `ranges` inside `others`, ascending and merged."""
    merged = merge(ranges)
    return subtract(merged, subtract(merged, others))


def merge(ranges: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the same times as ascending ranges that neither overlap nor touch, without empty ones."""
    merged: list[TimeRange] = []
    for start, end in sorted(i for i in ranges if i[0] < i[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
