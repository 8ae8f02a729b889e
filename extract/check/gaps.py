"""The work list of `perps repair`: the gaps that dbt found, when each was asked for, and what came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from extract.core.ranges import TimeRange
from extract.core.resolution import DAY_MS, Resolution
from extract.core.times import format_time
from extract.database.database import Database, one_row
from extract.transform.runner import expecting_models

ASK_AGAIN_AFTER_MS = DAY_MS

GAPS = """
select
    gaps.instrument,
    (extract(epoch from gaps.gap_start) * 1000)::bigint,
    (extract(epoch from gaps.gap_end) * 1000)::bigint,
    gaps.reason,
    (
        select (extract(epoch from max(fetches.fetched_at)) * 1000)::bigint
        from deribit_raw.fetches as fetches
        where fetches.instrument = gaps.instrument
            and fetches.resolution = %(resolution)s
            and fetches.window_start = gaps.gap_start
            and fetches._dlt_load_id not in (select load_id from deribit_raw._dlt_loads where status <> 0)
    ),
    coalesce(
        (
            select range_agg(tstzrange(fetches.window_start, fetches.window_end))
            from deribit_raw.fetches as fetches
            where fetches.instrument = gaps.instrument
                and fetches.resolution = %(resolution)s
                and fetches.window_end > gaps.gap_start
                and fetches.window_start < gaps.gap_end
                and fetches._dlt_load_id not in (select load_id from deribit_raw._dlt_loads where status <> 0)
                and fetches._dlt_load_id::numeric > (
                    select coalesce(max(read_to), 0)
                    from quality.watermarks
                    where relation = 'quality.ohlcv_candle_days'
                )
        ) @> tstzrange(gaps.gap_start + %(step)s * interval '1 millisecond', gaps.gap_end),
        false
    )
from quality.ohlcv_gaps as gaps
where gaps.reason <> 'known'
order by gaps.instrument, gaps.gap_start
"""

FOUND = """
select
    (
        select count(distinct "timestamp")
        from staging.stg_candles
        where instrument = %(instrument)s
            and "timestamp" > to_timestamp(%(last_ms)s / 1000.0)
            and "timestamp" < to_timestamp(%(next_ms)s / 1000.0)
    ),
    (
        select count(distinct "timestamp")
        from deribit_raw.candles
        where instrument = %(instrument)s
            and resolution = %(resolution)s
            and "timestamp" > to_timestamp(%(last_ms)s / 1000.0)
            and "timestamp" < to_timestamp(%(next_ms)s / 1000.0)
            and _dlt_load_id not in (select load_id from deribit_raw._dlt_loads where status <> 0)
    )
"""


@dataclass(frozen=True)
class Gap:
    """A run of missing candles in perpetuals_ohlcv.

    Attributes:
        instrument: whose candles are missing.
        last_ms: open of the last candle before, UTC ms.
        next_ms: open of the first candle after, UTC ms.
        reason: unfetched, rejected or source, as in quality.ohlcv_gaps.
        asked_ms: when a repair last asked for exactly this gap, the server's clock, UTC ms; None never.
        waiting: loads that the next dbt build will read have answers for all of it.
    """

    instrument: str
    last_ms: int
    next_ms: int
    reason: str = "unfetched"
    asked_ms: int | None = None
    waiting: bool = False

    @property
    def resting_until_ms(self) -> int:
        """From when on the gap is asked for again: at once unless the source had nothing usable, UTC ms."""
        if self.reason == "unfetched" or self.asked_ms is None:
            return 0
        return self.asked_ms + ASK_AGAIN_AFTER_MS

    def time_range(self, resolution: Resolution) -> TimeRange:
        """Return the missing bucket opens, end exclusive."""
        return self.last_ms + resolution.step_ms, self.next_ms

    def missing(self, resolution: Resolution) -> int:
        """Return how many candles are missing."""
        return (self.next_ms - self.last_ms) // resolution.step_ms - 1

    def __str__(self) -> str:
        return f"{self.instrument} between {format_time(self.last_ms)} and {format_time(self.next_ms)}"


@dataclass(frozen=True)
class Found:
    """What the raw tables hold of a gap by now.

    Attributes:
        usable: candles that the next build brings in.
        unusable: candles that it rejects.
    """

    usable: int
    unusable: int


def read_gaps(database: Database, resolution: Resolution) -> list[Gap]:
    """Return every gap of the table that is not a known one, by instrument and time.

    Raises:
        PerpsError: the models are not built yet.
    """
    with expecting_models(), database.reading() as cursor:
        cursor.execute(GAPS, {"resolution": resolution.name, "step": resolution.step_ms})
        return [Gap(*row) for row in cursor.fetchall()]


def split_due(gaps: Iterable[Gap], now_ms: int) -> tuple[list[Gap], list[Gap]]:
    """Return the gaps to ask for, and those asked for less than a day ago or since the last build.

    Args:
        gaps: the work list.
        now_ms: the server's clock, UTC ms.
    """
    due: list[Gap] = []
    resting: list[Gap] = []
    for gap in gaps:
        (resting if gap.waiting or now_ms < gap.resting_until_ms else due).append(gap)
    return due, resting


def count_found(database: Database, gaps: Sequence[Gap], resolution: Resolution) -> list[Found]:
    """Return for each gap which candles inside it the raw tables hold by now."""
    counts = []
    with expecting_models(), database.reading() as cursor:
        for gap in gaps:
            usable, landed = one_row(
                cursor,
                FOUND,
                {
                    "instrument": gap.instrument,
                    "resolution": resolution.name,
                    "last_ms": gap.last_ms,
                    "next_ms": gap.next_ms,
                },
            )
            counts.append(Found(usable, landed - usable))
    return counts
