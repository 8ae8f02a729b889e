"""Loads by a `Loader` in this process, their times counted from 1 January 2024."""

from __future__ import annotations

from extract.core.resolution import DAY_MS, MINUTE_MS, RESOLUTIONS
from extract.database.database import Database
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.load.endpoint import candles
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC
from tests.support.truth import rows

MINUTES = candles(RESOLUTIONS["1"])
JAN = 1_704_067_200_000
NOW = "2024-01-31T00:00:30Z"


def impatient(exchange: RunningSimulator, attempts: int = 3) -> DeribitClient:
    """Return a client that does not wait before it asks again."""
    return DeribitClient(exchange.base_url, TokenBucket(1000, 100), attempts=attempts, sleep=lambda _: None)


def days(start: float, end: float) -> tuple[int, int]:
    """Return the range from one day to another, in ms."""
    return JAN + int(start * DAY_MS), JAN + int(end * DAY_MS)


def minutes(start: float, end: float) -> list[int]:
    """Return every minute from one day to another."""
    return list(range(int(start * 1440), int(end * 1440)))


def ticks(database: Database, instrument: str = BTC) -> list[int]:
    """Return the distinct minutes that complete loads have landed."""
    found = rows(
        database,
        'select distinct (extract(epoch from "timestamp") * 1000)::bigint from deribit_raw.candles'
        " where instrument = %s and _dlt_load_id not in"
        " (select load_id from deribit_raw._dlt_loads where status <> 0) order by 1",
        instrument,
    )
    return [(tick - JAN) // MINUTE_MS for (tick,) in found]
