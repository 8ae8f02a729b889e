"""The work list of `perps repair`: the gaps that dbt found, and when and how well each was last fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from extract.core.ranges import TimeRange
from extract.core.resolution import DAY_MS, Resolution
from extract.core.times import format_time
from extract.database.database import Database, one_row
from extract.load.endpoint import Endpoint, endpoints
from extract.transform.models import GAPS, read_built
from extract.transform.runner import expecting_models

FETCH_AGAIN_AFTER_MS = DAY_MS


class Place(NamedTuple):
    """The relations that show the state of an endpoint's gaps.

    Attributes:
        read_by: the table whose watermark is the newest load that the gaps account for.
        usable: SQL of the raw rows that the next build adds to the table.
    """

    read_by: str
    usable: str


PLACES = {
    "candles": Place("quality.ohlcv_candle_days", "staging.stg_candles"),
    "funding": Place(
        "public.perpetuals_funding",
        "(select * from staging.stg_funding where abs(interest_1h) < 1 and index_price > 0) as usable",
    ),
    "settlements": Place(
        "public.perpetuals_settlements",
        '(select settled_at as "timestamp", * from staging.stg_settlements'
        " where open_interest >= 0 and mark_price > 0) as usable",
    ),
}

QUERY = """
select
    gaps.instrument,
    (extract(epoch from gaps.gap_start) * 1000)::bigint,
    (extract(epoch from gaps.gap_end) * 1000)::bigint,
    gaps.reason,
    (
        select (extract(epoch from max(fetches.fetched_at)) * 1000)::bigint
        from deribit_raw.fetches as fetches
        where fetches.instrument = gaps.instrument
            and fetches.endpoint = %(endpoint)s
            and fetches.resolution is not distinct from %(resolution)s
            and fetches.window_start = gaps.gap_start
            and fetches._dlt_load_id not in (select load_id from deribit_raw._dlt_loads where status <> 0)
    ),
    coalesce(
        (
            select range_agg(tstzrange(fetches.window_start, fetches.window_end))
            from deribit_raw.fetches as fetches
            where fetches.instrument = gaps.instrument
                and fetches.endpoint = %(endpoint)s
                and fetches.resolution is not distinct from %(resolution)s
                and fetches.window_end > gaps.gap_start
                and fetches.window_start < gaps.gap_end
                and fetches._dlt_load_id not in (select load_id from deribit_raw._dlt_loads where status <> 0)
                and fetches._dlt_load_id::numeric > (
                    select coalesce(max(read_to), 0)
                    from quality.watermarks
                    where relation = %(read_by)s
                )
        ) @> tstzrange(gaps.gap_start + %(step)s * interval '1 millisecond', gaps.gap_end),
        false
    )
from quality.{gaps} as gaps
where gaps.reason <> 'known'
order by gaps.instrument, gaps.gap_start
"""

FOUND = """
select
    (
        select count(distinct "timestamp")
        from deribit_raw.{table}
        where instrument = %(instrument)s
            and {resolution}
            and "timestamp" >= to_timestamp(%(start_ms)s / 1000.0)
            and "timestamp" < to_timestamp(%(end_ms)s / 1000.0)
            and _dlt_load_id not in (select load_id from deribit_raw._dlt_loads where status <> 0)
    ),
    (
        select count(distinct "timestamp")
        from {usable}
        where instrument = %(instrument)s
            and "timestamp" >= to_timestamp(%(start_ms)s / 1000.0)
            and "timestamp" < to_timestamp(%(end_ms)s / 1000.0)
    )
"""


@dataclass(frozen=True)
class Gap:
    """A run of missing rows in a table.

    Attributes:
        endpoint: the endpoint whose rows are missing.
        instrument: the instrument whose rows are missing.
        last_ms: open of the last bucket with a row before the gap, UTC ms.
        next_ms: open of the first bucket with a row after the gap, UTC ms.
        reason: unfetched, rejected or source, as in quality.ohlcv_gaps.
        fetched_ms: when a repair last fetched exactly this gap, by Deribit's clock, UTC ms; None: never.
        waiting: whether loads that the next dbt build reads cover the whole gap.
    """

    endpoint: Endpoint
    instrument: str
    last_ms: int
    next_ms: int
    reason: str = "unfetched"
    fetched_ms: int | None = None
    waiting: bool = False

    @property
    def resting_until_ms(self) -> int:
        """When to fetch the gap again, UTC ms: 0 (at once), or a day after Deribit had no usable row."""
        if self.reason == "unfetched" or self.fetched_ms is None:
            return 0
        return self.fetched_ms + FETCH_AGAIN_AFTER_MS

    @property
    def time_range(self) -> TimeRange:
        """The missing bucket opens, UTC ms, end exclusive."""
        return self.last_ms + self.endpoint.resolution.step_ms, self.next_ms

    @property
    def missing(self) -> int:
        """How many rows are missing."""
        return (self.next_ms - self.last_ms) // self.endpoint.resolution.step_ms - 1

    def __str__(self) -> str:
        what = "" if self.endpoint.has_resolution else f"{self.endpoint.table} of "
        return f"{what}{self.instrument} between {format_time(self.last_ms)} and {format_time(self.next_ms)}"


@dataclass(frozen=True)
class Found:
    """How many rows inside a gap the raw tables now hold.

    Attributes:
        usable: rows that the next build adds to the table.
        unusable: rows that the next build rejects.
    """

    usable: int
    unusable: int


def read_gaps(database: Database, resolution: Resolution) -> list[Gap]:
    """Return every gap of the tables, except known gaps, by endpoint, instrument and time.

    Args:
        database: where the tables are.
        resolution: of the candles.

    Raises:
        PerpsError: the models are not built yet.
    """
    found = []
    with expecting_models(), database.reading() as cursor:
        for endpoint in endpoints(read_built(database), resolution):
            place = PLACES[endpoint.table]
            values = {
                "endpoint": endpoint.table,
                "resolution": resolution.name if endpoint.has_resolution else None,
                "step": endpoint.resolution.step_ms,
                "read_by": place.read_by,
            }
            cursor.execute(QUERY.format(gaps=GAPS[endpoint.table]), values)
            found += [Gap(endpoint, *row) for row in cursor.fetchall()]
    return found


def split_due(gaps: Iterable[Gap], now_ms: int) -> tuple[list[Gap], list[Gap]]:
    """Return the gaps to fetch, and those that were fetched less than a day ago or since the last build.

    Args:
        gaps: as `read_gaps` returns them.
        now_ms: Deribit's clock, UTC ms.
    """
    due: list[Gap] = []
    resting: list[Gap] = []
    for gap in gaps:
        (resting if gap.waiting or now_ms < gap.resting_until_ms else due).append(gap)
    return due, resting


def count_found(database: Database, gaps: Sequence[Gap]) -> list[Found]:
    """Return for each gap how many rows inside it the raw tables now hold."""
    counts = []
    with expecting_models(), database.reading() as cursor:
        for gap in gaps:
            table = gap.endpoint.table
            same = "resolution = %(resolution)s" if gap.endpoint.has_resolution else "true"
            start_ms, end_ms = gap.time_range
            values = {
                "instrument": gap.instrument,
                "resolution": gap.endpoint.resolution.name,
                "start_ms": start_ms,
                "end_ms": end_ms,
            }
            query = FOUND.format(table=table, resolution=same, usable=PLACES[table].usable)
            landed, usable = one_row(cursor, query, values)
            counts.append(Found(usable, landed - usable))
    return counts
