"""ccxt's fetch loop and batched upserts into a hypertable.

Run as a process with the libpq variables and DERIBIT_API_URL set: instruments, start (ISO), and `executemany`
or `execute_values`. It imports nothing of this project, because it has a Python of its own: ccxt is installed
into .venv-peers. The loop is that of ccxt's examples: page with `since`, stop where a page is empty. Each run
begins a look-back before the last stored candle, or at the listing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import ccxt
import psycopg2
from psycopg2.extensions import connection as PgConnection
from psycopg2.extras import execute_values

LIMIT = 5_000
"""Deribit answers with at most 5,001 candles, the newest ones: a longer page would lose its beginning."""

MINUTE_MS = 60_000
LOOKBACK = timedelta(minutes=10)
RETRIES = {"maxRetriesOnFailure": 4, "maxRetriesOnFailureDelay": 2_000}
TABLE = """
create table if not exists candles (
    timestamp timestamptz not null, instrument text not null,
    open numeric(18, 8) not null, high numeric(18, 8) not null, low numeric(18, 8) not null,
    close numeric(18, 8) not null, volume numeric(18, 8) not null,
    primary key (instrument, timestamp)
);
select create_hypertable('candles', by_range('timestamp'), if_not_exists => true)
"""
INSERT = "insert into candles (timestamp, instrument, open, high, low, close, volume) values "
UPDATE = """
on conflict (instrument, timestamp) do update set
    open = excluded.open, high = excluded.high, low = excluded.low,
    close = excluded.close, volume = excluded.volume
"""


def connect() -> ccxt.deribit:
    """Return Deribit at DERIBIT_API_URL, with its markets."""
    exchange = ccxt.deribit({"options": RETRIES})
    exchange.urls["api"]["rest"] = os.environ["DERIBIT_API_URL"].removesuffix("/api/v2")
    # load_markets() would also ask for currencies, which the simulator does not have
    exchange.set_markets(exchange.fetch_markets({"currency": "any", "kind": "future"}))
    return exchange


def first_time(exchange: ccxt.deribit, connection: PgConnection, instrument: str, start: datetime) -> int:
    """Return the time (ms) to fetch from: a look-back before the last stored candle, or the first one."""
    with connection, connection.cursor() as cursor:
        cursor.execute("select max(timestamp) from candles where instrument = %s", [instrument])
        last = cursor.fetchone()[0]
    if last:
        return int((last - LOOKBACK).timestamp()) * 1000
    created = exchange.market(instrument)["created"]
    return max(int(start.timestamp()) * 1000, created // MINUTE_MS * MINUTE_MS)


def upsert(connection: PgConnection, rows: Sequence[tuple], way: str) -> None:
    """Write a page in a transaction."""
    with connection, connection.cursor() as cursor:
        if way == "execute_values":
            execute_values(cursor, f"{INSERT} %s {UPDATE}", rows, page_size=1_000)
        else:
            cursor.executemany(f"{INSERT} (%s, %s, %s, %s, %s, %s, %s) {UPDATE}", rows)


def main(instruments: Sequence[str], start: datetime, way: str) -> None:
    """Load each instrument up to now, by Deribit's clock."""
    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
    exchange = connect()
    now = exchange.fetch_time()
    for instrument in instruments:
        since = first_time(exchange, connection, instrument, start)
        while since < now:
            candles = exchange.fetch_ohlcv(instrument, "1m", since, LIMIT)
            if not candles:
                break
            rows = [
                (datetime.fromtimestamp(tick / 1000, UTC), instrument, *values) for tick, *values in candles
            ]
            upsert(connection, rows, way)
            since = candles[-1][0] + MINUTE_MS
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1].split(","), datetime.fromisoformat(sys.argv[2]), sys.argv[3])
