"""Reads what dbt built and dlt recorded, for commands that check or repair it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from extract.core.names import is_all, with_suggestions
from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution, parse_resolution
from extract.database.database import Database, one_row
from extract.errors import UsageError
from extract.transform.runner import expecting_models

RESOLUTION = "select max(resolution) from quality.watermarks where relation = 'public.perpetuals_ohlcv'"

HISTORIES = """
select
    instrument,
    (extract(epoch from first_candle) * 1000)::bigint,
    (extract(epoch from last_candle) * 1000)::bigint
from quality.ohlcv_coverage
where candles > 0
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


def read_histories(database: Database, resolution: Resolution) -> dict[str, TimeRange]:
    """Return per instrument of the table the bucket opens from its first candle to its last, end exclusive.

    Raises:
        PerpsError: the models are not built yet.
    """
    with expecting_models(), database.reading() as cursor:
        cursor.execute(HISTORIES)
        return {name: (first, last + resolution.step_ms) for name, first, last in cursor.fetchall()}


def pick(histories: dict[str, TimeRange], names: Sequence[str]) -> dict[str, TimeRange]:
    """Return the histories of the named instruments, of every one for none or `all`.

    Raises:
        UsageError: the table has no such instrument, or none at all.
    """
    if not histories:
        raise UsageError("the table has no candles; run: perps backfill, then: perps dbt -- build")
    if not names or is_all(names):
        return histories
    unknown = [name for name in names if name not in histories]
    if unknown:
        raise UsageError(
            f"the table has no candles of {with_suggestions(unknown, histories)}; "
            "correct the name, or load it with perps backfill, then run: perps dbt -- build"
        )
    return {name: histories[name] for name in names}


def _value(database: Database, query: str) -> Any:
    with expecting_models(), database.reading() as cursor:
        return one_row(cursor, query)[0]
