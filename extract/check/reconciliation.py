"""Reconciles aggregated candles with Deribit's own longer candles: what to fetch, and the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from extract.core.ranges import TimeRange
from extract.core.resolution import RESOLUTIONS, Resolution, parse_resolution
from extract.core.times import format_time
from extract.database.database import Database
from extract.errors import UsageError
from extract.transform.runner import expecting_models

BUCKETS = """
select
    (extract(epoch from "timestamp") * 1000)::bigint,
    status,
    differing_columns,
    minutes,
    expected_minutes
from quality.ohlcv_reconciliation
where instrument = %s
    and resolution = %s
    and "timestamp" >= to_timestamp(%s / 1000.0)
    and "timestamp" < to_timestamp(%s / 1000.0)
order by "timestamp"
"""


@dataclass(frozen=True)
class Bucket:
    """One of Deribit's longer candles, compared with the table's candles of the same bucket.

    Attributes:
        instrument: the instrument.
        at_ms: bucket open, UTC ms.
        status: identical, different, missing_in_minutes or missing_at_deribit.
        columns: the columns that differ, separated by commas; None unless different.
        candles: candles of the table in the bucket.
        expected: how many candles the bucket should have.
    """

    instrument: str
    at_ms: int
    status: str
    columns: str | None
    candles: int
    expected: int

    @property
    def whole(self) -> bool:
        """Whether the table has every candle of the bucket."""
        return self.candles == self.expected

    def __str__(self) -> str:
        part = "" if self.whole else f" ({self.candles:,} of {self.expected:,} candles)"
        columns = f": {self.columns.replace(',', ', ')}" if self.columns else ""
        return f"{self.instrument} {format_time(self.at_ms)} {self.status}{columns}{part}"


def parse_coarser(text: str, base: Resolution) -> Resolution:
    """Return the named resolution, if candles of `base` add up to it.

    180 and 360 minutes are excluded: it is not known where their buckets open.

    Raises:
        UsageError: candles of `base` do not add up to that resolution.
    """
    found = parse_resolution(text)
    fits = [
        each
        for each in RESOLUTIONS.values()
        if each.step_ms > base.step_ms and each.step_ms % base.step_ms == 0
        if len(each.anchors_ms) == len(base.anchors_ms) == 1
    ]
    if found not in fits:
        known = ", ".join(each.name for each in fits) or "none"
        raise UsageError(
            f"expected --resolution to be one that {base.name} candles add up to ({known}), got {found.name}"
        )
    return found


def to_fetch(
    histories: Mapping[str, TimeRange], time_range: TimeRange, resolution: Resolution
) -> dict[str, TimeRange]:
    """Return per instrument the bucket opens to fetch: the part of the time range that the table covers.

    The bucket that contains the table's first candle is part of it.

    Args:
        histories: per instrument, the table's bucket opens [start, end), UTC ms.
        time_range: start inclusive, end exclusive, UTC ms.
        resolution: of Deribit's candles.

    Raises:
        UsageError: the table has no candles in the time range.
    """
    bounds = {
        name: (max(time_range[0], resolution.floor(first)), min(time_range[1], end))
        for name, (first, end) in histories.items()
    }
    ranges = {name: bound for name, bound in bounds.items() if bound[0] < bound[1]}
    if not ranges:
        raise UsageError(
            "the table has no candles in this time range; see its bounds in quality.ohlcv_coverage"
        )
    return ranges


def count_buckets(buckets: Sequence[Bucket]) -> str:
    """Return the number of buckets by status; those that differ and lack candles count as "not whole"."""
    kinds = Counter(
        "not whole" if bucket.status == "different" and not bucket.whole else bucket.status
        for bucket in buckets
    )
    named = ("identical", "different", "not whole", "missing_in_minutes", "missing_at_deribit")
    return ", ".join(f"{kinds[kind]:,} {kind.replace('_', ' ')}" for kind in named)


def read_buckets(
    database: Database, ranges: Mapping[str, TimeRange], resolution: Resolution
) -> dict[str, list[Bucket]]:
    """Return per instrument the buckets that dbt compared in a time range, by time.

    Raises:
        PerpsError: the model is not built yet.
    """
    found = {}
    with expecting_models(), database.reading() as cursor:
        for name, (start, end) in ranges.items():
            cursor.execute(BUCKETS, [name, resolution.name, start, end])
            found[name] = [Bucket(name, *row) for row in cursor.fetchall()]
    return found
