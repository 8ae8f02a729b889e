"""Reads what dbt built and dlt recorded, for commands that check or repair it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from extract.core.names import TABLES, is_all, with_suggestions
from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution, parse_resolution
from extract.database.database import Database, one_row
from extract.errors import UsageError
from extract.transform.runner import expecting_models

RESOLUTION = "select max(resolution) from quality.watermarks where relation = 'public.perpetuals_ohlcv'"

HISTORIES = {
    "candles": """
        select instrument, first_candle, last_candle from quality.ohlcv_coverage where candles > 0
    """,
    "funding": """
        select instrument, min("timestamp"), max("timestamp") from public.perpetuals_funding group by 1
    """,
    "settlements": """
        select
            instrument,
            (min(settlement_day) + time '08:00') at time zone 'utc',
            (max(settlement_day) + time '08:00') at time zone 'utc'
        from public.perpetuals_settlements
        group by 1
    """,
}
"""By endpoint, the query of its table: per instrument, the opens of its first and its last bucket."""

GAPS = {"candles": "ohlcv_gaps", "funding": "funding_gaps", "settlements": "settlement_gaps"}
"""By endpoint, the model that lists its gaps."""

IN_MS = """
select instrument, (extract(epoch from first) * 1000)::bigint, (extract(epoch from last) * 1000)::bigint
from ({bounds}) as bounds (instrument, first, last)
order by instrument
"""

CHECKED_AT = "select (extract(epoch from max(checked_at)) * 1000)::bigint from quality.ohlcv_coverage"

ORIGIN = "select max(origin) from deribit_raw.fetches"


def read_resolution(database: Database) -> Resolution:
    """Return the resolution that the table was built with.

    Raises:
        PerpsError: the models are not built yet.
    """
    return parse_resolution(_value(database, RESOLUTION) or "1")


def read_checked_at(database: Database) -> int:
    """Return Deribit's clock, as estimated from the newest load, UTC ms.

    Raises:
        PerpsError: the models are not built yet.
    """
    return int(_value(database, CHECKED_AT) or 0)


def read_origin(database: Database) -> str | None:
    """Return who served the raw candles: live, testnet or simulator; None before the first load.

    Raises:
        PerpsError: the raw tables are not there yet.
    """
    origin: str | None = _value(database, ORIGIN)
    return origin


def read_histories(
    database: Database, resolution: Resolution, endpoint: str = "candles"
) -> dict[str, TimeRange]:
    """Return per instrument of a table the time range of its rows: bucket opens, end exclusive, UTC ms.

    Args:
        database: the database.
        resolution: of the table's buckets.
        endpoint: whose table to read.

    Raises:
        PerpsError: the models are not built yet.
    """
    with expecting_models(), database.reading() as cursor:
        cursor.execute(IN_MS.format(bounds=HISTORIES[endpoint]))
        return {name: (first, last + resolution.step_ms) for name, first, last in cursor.fetchall()}


def read_built(database: Database) -> list[str]:
    """Return the endpoints whose table and gaps are built; candles always, which every command needs."""
    with database.reading() as cursor:
        exists = "select to_regclass(%s) is not null and to_regclass(%s) is not null"
        return [
            endpoint
            for endpoint, table in TABLES.items()
            if endpoint == "candles"
            or one_row(cursor, exists, [f"public.{table}", f"quality.{GAPS[endpoint]}"])[0]
        ]


def pick(
    histories: dict[str, TimeRange], names: Sequence[str], what: str = "candles"
) -> dict[str, TimeRange]:
    """Return the histories of the named instruments, of every one for none or `all`.

    Args:
        histories: as `read_histories` returns them.
        names: as typed.
        what: the noun for its rows in messages, one of `ENDPOINTS`.

    Raises:
        UsageError: the table has no such instrument, or none at all.
    """
    backfill = "perps backfill" if what == "candles" else f"perps backfill --only {what}"
    if not histories:
        raise UsageError(f"the table has no {what}; run: {backfill}, then: perps dbt -- build")
    if not names or is_all(names):
        return histories
    unknown = [name for name in names if name not in histories]
    if unknown:
        raise UsageError(
            f"the table has no {what} of {with_suggestions(unknown, histories)}; "
            f"correct the name, or load it with {backfill}, then run: perps dbt -- build"
        )
    return {name: histories[name] for name in names}


def _value(database: Database, query: str) -> Any:
    with expecting_models(), database.reading() as cursor:
        return one_row(cursor, query)[0]
