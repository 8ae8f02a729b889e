"""How the candles, added up, compare with Deribit's own longer ones: which ones to ask for, what came out."""

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
    """One of Deribit's candles beside what the table has for its time.

    Attributes:
        instrument: whose.
        at_ms: bucket open, UTC ms.
        status: identical, different, missing_in_minutes or missing_at_deribit.
        columns: the columns that differ, separated by commas; None unless different.
        candles: candles of the table in the bucket.
        expected: how many there should be.
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
    """Return a resolution that candles of `base` add up to.

    Where buckets of 180 and 360 minutes open is not known, so nothing is compared with them.

    Raises:
        UsageError: it is another one.
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
            f"expected --resolution of what candles of {base.name} add up to ({known}), got {found.name}"
        )
    return found


def bars_to_ask(
    histories: Mapping[str, TimeRange], time_range: TimeRange, resolution: Resolution
) -> dict[str, TimeRange]:
    """Return per instrument the bucket opens to ask for: the part of the wanted range that the table has.

    Args:
        histories: per instrument, the table's bucket opens [start, end), UTC ms.
        time_range: start inclusive, end exclusive, UTC ms.
        resolution: of Deribit's candles; the one that holds the table's first candle is asked for too.

    Raises:
        UsageError: the table has nothing of the range.
    """
    bounds = {
        name: (max(time_range[0], resolution.floor(first)), min(time_range[1], end))
        for name, (first, end) in histories.items()
    }
    asked = {name: bound for name, bound in bounds.items() if bound[0] < bound[1]}
    if not asked:
        raise UsageError(
            "expected a range in which the table has candles, got one without; see quality.ohlcv_coverage"
        )
    return asked


def count_buckets(buckets: Sequence[Bucket]) -> str:
    """Return how many buckets came out how; what differs because candles are missing is counted apart."""
    kinds = Counter(
        "not whole" if bucket.status == "different" and not bucket.whole else bucket.status
        for bucket in buckets
    )
    named = ("identical", "different", "not whole", "missing_in_minutes", "missing_at_deribit")
    return ", ".join(f"{kinds[kind]:,} {kind.replace('_', ' ')}" for kind in named)


def read_buckets(
    database: Database, asked: Mapping[str, TimeRange], resolution: Resolution
) -> dict[str, list[Bucket]]:
    """Return per instrument what dbt compared in a range, by time.

    Raises:
        PerpsError: the model is not built yet.
    """
    found = {}
    with expecting_models(), database.reading() as cursor:
        for name, (start, end) in asked.items():
            cursor.execute(BUCKETS, [name, resolution.name, start, end])
            found[name] = [Bucket(name, *row) for row in cursor.fetchall()]
    return found
