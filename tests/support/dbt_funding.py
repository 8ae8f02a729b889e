"""Funding and settlements in raw tables written by plain SQL, as loads land them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

from psycopg2.extras import execute_values

from tests.support.dbt_project import START, DbtProject

BTC, SOL = "BTC-PERPETUAL", "SOL_USDC-PERPETUAL"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TABLES = ("--select", "perpetuals_funding", "perpetuals_settlements")


class Funding(NamedTuple):
    """A row of deribit_raw.funding without its load; `timestamp` is the end of the hour."""

    timestamp: datetime
    instrument: str = BTC
    interest_1h: float | None = 1e-5
    interest_8h: float | None = 8e-5
    index_price: float | None = 100.0
    prev_index_price: float | None = 100.0


class Settlement(NamedTuple):
    """A row of deribit_raw.settlements without its load."""

    timestamp: datetime
    instrument: str = BTC
    position: float | None = 5000.0
    mark_price: float | None = 100.0
    index_price: float | None = 100.0
    profit_loss: float | None = 0.5
    session_profit_loss: float | None = -0.5


Row: TypeAlias = Funding | Settlement


def hour(number: int) -> datetime:
    """Return the end of the hour `number` after START."""
    return START + number * HOUR


def hours(first: int, last: int, **columns: Any) -> list[Funding]:
    """Return one row for each hour from `first` up to, not including, `last`."""
    return [Funding(hour(number), **columns) for number in range(first, last)]


def settled(number: int) -> datetime:
    """Return the settlement of the day `number` after START's, 65 milliseconds late as Deribit's are."""
    return START + number * DAY + timedelta(hours=8, milliseconds=65)


def settlements(first: int, last: int, **columns: Any) -> list[Settlement]:
    """Return one row for each day from `first` up to, not including, `last`."""
    return [Settlement(settled(number), **columns) for number in range(first, last)]


def bucket(row: Row) -> datetime:
    """Return the open of the bucket that a row belongs to: its hour, or 08:00 of its settlement day."""
    anchor = datetime(1970, 1, 1, 8 if isinstance(row, Settlement) else 0, tzinfo=UTC)
    return row.timestamp - (row.timestamp - anchor) % (DAY if isinstance(row, Settlement) else HOUR)


def land(project: DbtProject, load_id: str, rows: Sequence[Row], *, complete: bool = True) -> None:
    """Append rows of one endpoint as one load, with a fetch of each instrument from first row to last."""
    endpoint = "settlements" if isinstance(rows[0], Settlement) else "funding"
    step = DAY if endpoint == "settlements" else HOUR
    columns = ", ".join(f'"{name}"' for name in (*rows[0]._fields, "_dlt_load_id"))
    with project.database.reading() as cursor:
        cursor.execute(f'select instrument, "timestamp" from deribit_raw.{endpoint}')
        known = set(cursor.fetchall())
        statement = f"insert into deribit_raw.{endpoint} ({columns}) values %s"
        execute_values(cursor, statement, [(*row, load_id) for row in rows])
    for instrument, of_it in groupby(
        sorted(rows, key=lambda row: row.instrument), lambda row: row.instrument
    ):
        landed = list(of_it)
        changed = sum((row.instrument, row.timestamp) in known for row in landed)
        opens = [bucket(row) for row in landed]
        new = len(landed) - changed
        asked(
            project, load_id, endpoint, min(opens), max(opens) + step, instrument, (len(landed), new, changed)
        )
    project.complete(load_id, status=0 if complete else 1)


def asked(
    project: DbtProject,
    load_id: str,
    endpoint: str,
    start: datetime,
    end: datetime,
    instrument: str = BTC,
    counts: Iterable[int] = (0, 0, 0),
) -> None:
    """Enter an answered request for [start, end): rows, new and changed rows."""
    project.query(
        "insert into deribit_raw.fetches (instrument, endpoint, window_start, window_end, rows, new_rows,"
        " changed_rows, fetched_at, origin, _dlt_load_id)"
        f" values ('{instrument}', '{endpoint}', '{start}', '{end}', {', '.join(map(str, counts))},"
        f" '{end}', 'simulator', '{load_id}')"
    )


def list_instrument(project: DbtProject, load_id: str, instrument: str, kind: str, **details: Any) -> None:
    """Enter a listing in deribit_raw.instruments; `kind` is reversed or linear."""
    base = instrument.replace("_", "-").split("-")[0]
    quote = "USDC" if kind == "linear" else "USD"
    row = {
        "base_currency": base,
        "quote_currency": quote,
        "settlement_currency": quote if kind == "linear" else base,
        "tick_size": 0.5,
        "contract_size": 10.0,
        "min_trade_amount": 10.0,
        "created_at": START,
        "is_active": True,
        "seen_at": START,
    } | details
    names = ", ".join(("instrument", "instrument_type", *row, "_dlt_load_id"))
    with project.database.reading() as cursor:
        statement = f"insert into deribit_raw.instruments ({names}) values %s"
        execute_values(cursor, statement, [(instrument, kind, *row.values(), load_id)])
