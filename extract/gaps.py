"""The work list of `perps repair`: the gaps that dbt found, and what of them the raw tables hold by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from extract.resolution import Resolution
from extract.server.connection import Connection
from extract.times import format_time
from extract.transform import expecting_models
from extract.windows import Interval

GAPS = """
select
    instrument,
    (extract(epoch from gap_start) * 1000)::bigint,
    (extract(epoch from gap_end) * 1000)::bigint
from quality.ohlcv_gaps
order by instrument, gap_start
"""

RESOLUTION = "select max(resolution) from quality.consumed_loads where model = 'perpetuals_ohlcv'"

FILLED = """
select count(distinct "timestamp")
from staging.stg_candles
where instrument = %s
    and "timestamp" > to_timestamp(%s / 1000.0)
    and "timestamp" < to_timestamp(%s / 1000.0)
"""


@dataclass(frozen=True)
class Gap:
    """A hole in perpetuals_ohlcv.

    Attributes:
        instrument: whose candles are missing.
        last_ms: open of the last candle before, UTC ms.
        next_ms: open of the first candle after, UTC ms.
    """

    instrument: str
    last_ms: int
    next_ms: int

    def hole(self, resolution: Resolution) -> Interval:
        """Return the missing bucket opens, end exclusive."""
        return self.last_ms + resolution.step_ms, self.next_ms

    def missing(self, resolution: Resolution) -> int:
        """Return how many candles are missing."""
        return (self.next_ms - self.last_ms) // resolution.step_ms - 1

    def __str__(self) -> str:
        return f"{self.instrument} between {format_time(self.last_ms)} and {format_time(self.next_ms)}"


def read_gaps(database: Connection) -> list[Gap]:
    """Return every gap of the table, by instrument and time.

    Raises:
        PerpsError: the models are not built yet.
    """
    with expecting_models(), database.reading() as cursor:
        cursor.execute(GAPS)
        return [Gap(*row) for row in cursor.fetchall()]


def read_resolution(database: Connection) -> str:
    """Return the resolution that the table was built with.

    Raises:
        PerpsError: the models are not built yet.
    """
    with expecting_models(), database.reading() as cursor:
        cursor.execute(RESOLUTION)
        return str(cursor.fetchone()[0] or "1")


def count_filled(database: Connection, gaps: Sequence[Gap]) -> list[int]:
    """Return for each gap how many usable candles inside it the raw tables hold by now."""
    counts = []
    with expecting_models(), database.reading() as cursor:
        for gap in gaps:
            cursor.execute(FILLED, [gap.instrument, gap.last_ms, gap.next_ms])
            counts.append(int(cursor.fetchone()[0]))
    return counts
