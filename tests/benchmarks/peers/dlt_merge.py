"""A dlt source with merge disposition and a cursor for each instrument; the dbt project beside it reads it.

Run as a process with the libpq variables and DERIBIT_API_URL set: instruments, start (ISO). Pages are yielded
as dictionaries, requests go through dlt's session with retries, and `lag` is the look-back, all as dlt's
documentation shows it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dlt
from dlt.sources.helpers import requests

LIMIT = 5_000
MINUTE_MS = 60_000
LOOKBACK_S = 600
URL = "postgresql://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}"
VALUES = ("open", "high", "low", "close", "volume")
COLUMNS = {
    "timestamp": {"data_type": "timestamp"},
    "instrument": {"data_type": "text"},
    **{name: {"data_type": "double"} for name in VALUES},  # else the first page decides: 7834 is an integer
}
CURSOR = dlt.sources.incremental("timestamp")  # the source below gives each instrument its own


def ask(method: str, **parameters: Any) -> Any:
    """Return the result of a public method."""
    answer = requests.get(f"{os.environ['DERIBIT_API_URL']}/public/{method}", params=parameters)
    answer.raise_for_status()
    return answer.json()["result"]


@dlt.resource(
    table_name="candles",
    write_disposition="merge",
    primary_key=("timestamp", "instrument"),
    columns=COLUMNS,
)
def candles(instrument: str, timestamp: Any = CURSOR) -> Iterator[list[dict[str, Any]]]:
    """Yield the candles of an instrument from its cursor to now, a page at a time."""
    now = ask("get_time")
    since = int(timestamp.last_value.timestamp()) * 1000
    while since < now:
        window = {"start_timestamp": since, "end_timestamp": since + (LIMIT - 1) * MINUTE_MS}
        page = ask("get_tradingview_chart_data", instrument_name=instrument, resolution="1", **window)
        if not page["ticks"]:
            break
        yield [
            {"timestamp": datetime.fromtimestamp(tick / 1000, UTC), "instrument": instrument}
            | dict(zip(VALUES, values, strict=True))
            for tick, *values in zip(page["ticks"], *(page[name] for name in VALUES), strict=True)
        ]
        since = page["ticks"][-1] + MINUTE_MS


@dlt.source
def deribit(instruments: Sequence[str], start: datetime) -> Iterator[Any]:
    """Yield a resource for each instrument: the cursor is kept for each of them, the table is one."""
    listing = ask("get_instruments", currency="any", kind="future")
    created = {row["instrument_name"]: row["creation_timestamp"] // MINUTE_MS * 60 for row in listing}
    for instrument in instruments:
        first = max(start, datetime.fromtimestamp(created[instrument], UTC))
        cursor = dlt.sources.incremental("timestamp", initial_value=first, lag=LOOKBACK_S)
        yield candles(instrument, cursor).with_name(f"candles_{instrument}")


def main(instruments: Sequence[str], start: datetime) -> None:
    """Load into schema deribit."""
    pipeline = dlt.pipeline(
        "deribit",
        destination=dlt.destinations.postgres(URL.format(**os.environ)),
        dataset_name="deribit",
    )
    pipeline.run(deribit(instruments, start))


if __name__ == "__main__":
    main(sys.argv[1].split(","), datetime.fromisoformat(sys.argv[2]))
