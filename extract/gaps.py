"""The work list of `perps repair`: the gaps that dbt found, and what of them the raw tables hold by now."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg2

from extract.errors import PerpsError
from extract.resolution import Resolution
from extract.server.connection import Connection
from extract.times import format_time
from extract.windows import Interval

GAPS = """
select
    instrument,
    (extract(epoch from gap_start) * 1000)::bigint,
    (extract(epoch from gap_end) * 1000)::bigint
from quality.ohlcv_gaps
order by instrument, gap_start
"""

FILLED = """
select count(distinct "timestamp")
from deribit_raw.candles
where instrument = %s
    and resolution = %s
    and "timestamp" > to_timestamp(%s / 1000.0)
    and "timestamp" < to_timestamp(%s / 1000.0)
    and _dlt_load_id in (select load_id from deribit_raw._dlt_loads where status = 0)
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
    opened = database.connect()
    try:
        with opened.cursor() as cursor:
            cursor.execute(GAPS)
            return [Gap(*row) for row in cursor.fetchall()]
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        raise PerpsError(
            "expected the dbt models in the database, found none; run: perps dbt -- build"
        ) from None
    finally:
        opened.close()


def count_filled(database: Connection, gap: Gap, resolution: Resolution) -> int:
    """Return how many candles inside a gap the raw tables hold; the next dbt build brings them in."""
    opened = database.connect()
    try:
        with opened.cursor() as cursor:
            cursor.execute(FILLED, [gap.instrument, resolution.name, gap.last_ms, gap.next_ms])
            return int(cursor.fetchone()[0])
    finally:
        opened.close()
