"""The limit baseline: plain COPY of prepared rows, and the bare INSERT SELECT, of what a load has landed."""

from __future__ import annotations

import time
from pathlib import Path

from psycopg2.extensions import cursor as PgCursor

from extract.database.database import Database

_RAW = "deribit_raw.candles"
_COPIED = "limit_raw.candles"
_VALUES = ("open", "high", "low", "close", "volume")
INSERTS = {"plain casts": "::numeric(18, 8)", "casts through text": "::text::numeric(18, 8)", "no casts": ""}
"""What is done to each value; without casts the table's columns are double precision."""


def write_rows(database: Database, file: Path) -> None:
    """Write the raw candles to a file in COPY's binary format, outside any clock."""
    with database.reading() as cursor, file.open("wb") as output:
        cursor.copy_expert(f"copy (select * from {_RAW}) to stdout (format binary)", output)


def copy_seconds(database: Database, file: Path) -> float:
    """Return how long one COPY of the file into an empty twin of the raw table takes."""
    with database.reading() as cursor:
        cursor.execute("drop schema if exists limit_raw cascade; create schema limit_raw")
        cursor.execute(f"create table {_COPIED} (like {_RAW} including defaults)")
        cursor.execute(
            f"select create_hypertable('{_COPIED}', by_range('timestamp', %s::interval),"
            " create_default_indexes => false)",
            [_chunk_interval(cursor, "deribit_raw", "candles")],
        )
        cursor.execute(
            "select indexdef from pg_indexes where schemaname = 'deribit_raw' and tablename = 'candles'"
        )
        for (definition,) in cursor.fetchall():
            cursor.execute(definition.replace(f" ON {_RAW} ", f" ON {_COPIED} "))
        with file.open("rb") as rows:
            began = time.monotonic()
            cursor.copy_expert(f"copy {_COPIED} from stdin (format binary)", rows, size=1 << 20)
            took = time.monotonic() - began
        cursor.execute("drop schema limit_raw cascade")
    return took


def insert_seconds(database: Database, cast: str) -> float:
    """Return how long the bare INSERT SELECT into an empty hypertable with the primary key takes."""
    kind = "numeric(18, 8)" if cast else "double precision"
    with database.reading() as cursor:
        cursor.execute("drop table if exists limit_bare")
        cursor.execute(
            "create table limit_bare (timestamp timestamptz not null, instrument text not null, "
            + ", ".join(f"{name} {kind} not null" for name in _VALUES)
            + ", primary key (timestamp, instrument))"
        )
        cursor.execute(
            "select create_hypertable('limit_bare', by_range('timestamp', %s::interval),"
            " create_default_indexes => false)",
            [_chunk_interval(cursor, "public", "perpetuals_ohlcv")],
        )
        began = time.monotonic()
        cursor.execute(
            "insert into limit_bare select distinct on (timestamp, instrument) timestamp, instrument, "
            + ", ".join(name + cast for name in _VALUES)
            + f" from {_RAW} order by timestamp, instrument"
        )
        took = time.monotonic() - began
        cursor.execute("drop table limit_bare")
    return took


def _chunk_interval(cursor: PgCursor, schema: str, table: str) -> str:
    """Return the chunk interval of a hypertable as text."""
    cursor.execute(
        "select time_interval::text from timescaledb_information.dimensions"
        " where hypertable_schema = %s and hypertable_name = %s",
        [schema, table],
    )
    return str(cursor.fetchone()[0])
