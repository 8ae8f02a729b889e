"""The habit baseline: one tuple a candle, executemany with ON CONFLICT, one request after the other.

Run as a process with the libpq variables and DERIBIT_API_URL set: start (ms), candles. It is how such tables
are usually filled: BTC first, then ETH. Prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg2
import requests

from tests.benchmarks.spans import ROWS_PER_REQUEST, Span

MINUTE_MS = 60_000
PAUSE_S = 0.05
TABLE = """
create table habit (
    timestamp timestamptz not null, instrument text not null,
    open numeric(18, 8), high numeric(18, 8), low numeric(18, 8), close numeric(18, 8), volume numeric(18, 8),
    primary key (timestamp, instrument)
);
select create_hypertable('habit', by_range('timestamp'));
create index on habit (instrument, timestamp desc)
"""
UPSERT = """
insert into habit (timestamp, instrument, open, high, low, close, volume)
values (%s, %s, %s, %s, %s, %s, %s)
on conflict (timestamp, instrument) do update set
    open = excluded.open, high = excluded.high, low = excluded.low,
    close = excluded.close, volume = excluded.volume
"""
COLUMNS = ("open", "high", "low", "close", "volume")


def replies(api: str, span: Span) -> Iterator[tuple[str, dict]]:
    """Yield the name and the result of each request, one after the other with a pause."""
    session = requests.Session()
    for instrument, candles in span.by_instrument.items():
        first = span.end_ms - candles * MINUTE_MS
        for start in range(first, span.end_ms, ROWS_PER_REQUEST * MINUTE_MS):
            end = min(start + ROWS_PER_REQUEST * MINUTE_MS, span.end_ms) - 1
            asked = {"instrument_name": instrument, "start_timestamp": start, "end_timestamp": end}
            answer = session.get(
                f"{api}/public/get_tradingview_chart_data", params=asked | {"resolution": "1"}, timeout=60
            )
            answer.raise_for_status()
            yield instrument, answer.json()["result"]
            time.sleep(PAUSE_S)


def main(span: Span) -> None:
    """Load the candles of a span."""
    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
    began, loaded = time.monotonic(), 0
    for instrument, result in replies(os.environ["DERIBIT_API_URL"], span):
        rows = [
            (datetime.fromtimestamp(tick / 1000, UTC), instrument, *values)
            for tick, *values in zip(result["ticks"], *(result[name] for name in COLUMNS), strict=True)
        ]
        with connection, connection.cursor() as cursor:
            cursor.executemany(UPSERT, rows)
        loaded += len(rows)
    connection.close()
    print(json.dumps({"candles": loaded, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(Span(int(sys.argv[1]), int(sys.argv[2])))
