"""How fresh the table is: when it was last built from a load, and each instrument's newest candle."""

from __future__ import annotations

from dataclasses import dataclass

from extract.core.resolution import parse_resolution
from extract.database.database import Database
from extract.errors import PerpsError
from extract.transform.runner import expecting_models

BUILT = """
select
    resolution,
    extract(epoch from now() - loads.inserted_at)::float,
    (extract(epoch from (select max(fetched_at) from deribit_raw.fetches)) * 1000)::bigint
from quality.watermarks
join deribit_raw._dlt_loads as loads on loads.load_id::numeric = read_to
where relation = 'public.perpetuals_ohlcv'
"""
NEWEST = """
select instrument, (extract(epoch from max(last_candle)) * 1000)::bigint
from quality.ohlcv_candle_days
where day > (select max(day) - 7 from quality.ohlcv_candle_days)
    and instrument not in (
        select instrument
        from (
            select distinct on (instrument) instrument, ended_at
            from deribit_raw.instruments
            order by instrument, seen_at desc
        ) as listings
        where ended_at is not null
    )
group by instrument
order by instrument
"""


@dataclass(frozen=True)
class Freshness:
    """How fresh the table is.

    Attributes:
        built_s: how long ago the newest load that the table has read became complete, in seconds, by the
            database's clock.
        checked_ms: Deribit's clock at the newest fetch, UTC ms.
        closes: per instrument that has not ended, the end of its newest candle, UTC ms.
    """

    built_s: float
    checked_ms: int
    closes: dict[str, int]

    def behind(self, most_s: float) -> list[str]:
        """Return the instruments whose newest candle closed longer before the newest fetch than `most_s`."""
        return [name for name, close in self.closes.items() if self.checked_ms - close > most_s * 1000]


def read_freshness(database: Database) -> Freshness:
    """Return how fresh the table is.

    Raises:
        DatabaseError: the database cannot be reached.
        PerpsError: the models are not built yet, or are to be built from all loads again.
    """
    with expecting_models(), database.reading() as cursor:
        cursor.execute(BUILT)
        if not (built := cursor.fetchone()):
            raise PerpsError("the table has not read any load yet; run: perps dbt -- build")
        resolution, built_s, checked_ms = built
        step_ms = parse_resolution(resolution).step_ms
        cursor.execute(NEWEST)
        closes = {name: newest_ms + step_ms for name, newest_ms in cursor.fetchall()}
    return Freshness(built_s, checked_ms, closes)
