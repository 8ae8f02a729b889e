"""What the simulator says is true, and what the database holds, in one shape that can be compared."""

from __future__ import annotations

import csv
import io
import json
import urllib.request
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from extract.database.database import Database

VALUES = ("open", "high", "low", "close", "volume")
EIGHT = Decimal("0.00000001")
Row = tuple[Any, ...]


def control(api: str, what: str, body: Any) -> Any:
    """POST to one of the endpoints that only the simulator has."""
    request = urllib.request.Request(f"{root(api)}/{what}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def look(api: str, what: str) -> Any:
    """GET one of the endpoints that only the simulator has."""
    with urllib.request.urlopen(f"{root(api)}/{what}", timeout=30) as answer:
        return json.loads(answer.read())


def root(api: str) -> str:
    return api.removesuffix("/api/v2") + "/simulator"


def truth(api: str, instrument: str, start: str, end: str, resolution: str = "1") -> list[Row]:
    """Return the closed candles of [start, end): epoch ms, instrument, O, H, L, C, volume; 8 decimals."""
    query = f"truth?instrument={instrument}&resolution={resolution}&start={start}&end={end}"
    with urllib.request.urlopen(f"{root(api)}/{query}", timeout=60) as answer:
        rows = csv.DictReader(io.StringIO(answer.read().decode()))
        return [(int(row["ticks"]), instrument, *(rounded(row[name]) for name in VALUES)) for row in rows]


def truth_rows(
    api: str, endpoint: str, instrument: str, start_ms: int | None = None, end_ms: int | None = None
) -> list[dict[str, Any]]:
    """Return the rows of `funding` or `settlements` with start_ms <= timestamp < end_ms (UTC ms), ascending.

    Their keys are those of the API; without a bound they begin with the first one, and end with the newest by
    the exchange's clock. Numbers are the doubles that the JSON spells.
    """
    bounds = {"start": start_ms, "end": end_ms}
    given = "".join(f"&{name}={at_ms}" for name, at_ms in bounds.items() if at_ms is not None)
    found: list[dict[str, Any]] = look(api, f"truth_rows?endpoint={endpoint}&instrument={instrument}{given}")
    return found


def rounded(text: str) -> Decimal:
    """Return the number that the JSON spelled, with the 8 decimals of numeric(18,8)."""
    return Decimal(text).quantize(EIGHT, ROUND_HALF_UP)


def table(database: Database, instrument: str | None = None) -> list[Row]:
    """Return perpetuals_ohlcv in the shape of `truth`."""
    return rows(
        database,
        """
        select (extract(epoch from "timestamp") * 1000)::bigint, instrument, open, high, low, close, volume
        from perpetuals_ohlcv where instrument = coalesce(%s, instrument) order by 2, 1
        """,
        instrument,
    )


def rows(database: Database, query: str, *values: Any) -> list[Row]:
    """Return what a query answers."""
    with database.reading() as cursor:
        cursor.execute(query, values or None)
        return cursor.fetchall()


def execute(database: Database, *statements: str) -> list[Row]:
    """Run statements in one session; return what the last one answers, if it answers anything."""
    with database.reading() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def checksum(database: Database) -> Row:
    """Return the number of rows of perpetuals_ohlcv and a checksum over all of them."""
    return rows(
        database,
        "select count(*), md5(string_agg(p::text, '|' order by instrument, \"timestamp\"))"
        " from perpetuals_ohlcv as p",
    )[0]
