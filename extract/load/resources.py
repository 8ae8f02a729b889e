"""The dlt resources that the loader and the public source share: series with their cursor, and instruments.

The loader appends new and changed rows to a log. The public source merges, so that its tables have each row
once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any, TypeAlias

import dlt
import pyarrow as pa
from dlt.common.data_types.typing import TDataType
from dlt.common.schema.typing import TColumnSchema, TSchemaContractDict
from dlt.extract import DltResource

from extract.deribit.instruments import Instrument
from extract.deribit.rows import TIME
from extract.load.endpoint import Endpoint
from extract.load.state import ENDED, EPOCH

CONTRACT: TSchemaContractDict = {"tables": "evolve", "columns": "freeze", "data_type": "freeze"}


def column(data_type: TDataType, *, nullable: bool = False) -> TColumnSchema:
    """Return the hints of a column. Each has its own, because dlt writes the column's name into them."""
    return {"data_type": data_type, "nullable": nullable}


LOAD = {"_dlt_load_id": column("text")}
INSTRUMENTS = {
    "instrument": column("text"),
    "created_at": column("timestamp"),
    "base_currency": column("text", nullable=True),
    "quote_currency": column("text", nullable=True),
    "settlement_currency": column("text", nullable=True),
    "instrument_type": column("text", nullable=True),
    "tick_size": column("double", nullable=True),
    "contract_size": column("double", nullable=True),
    "min_trade_amount": column("double", nullable=True),
    "is_active": column("bool", nullable=True),
    "ended_at": column("timestamp", nullable=True),
    "seen_at": column("timestamp"),
}

BoundCursor: TypeAlias = "dlt.sources.incremental[datetime]"
Tables: TypeAlias = Iterator[pa.Table | None]


def series_resource(
    read: Callable[[BoundCursor], Tables],
    instrument: str,
    endpoint: Endpoint,
    cursor: BoundCursor | None,
    *,
    merged: bool = False,
) -> DltResource:
    """Return the rows of a series, in the table of its endpoint.

    Args:
        read: yields rows in the columns of `Endpoint.schema`, ascending, and None while it waits; it is given
            the cursor as dlt has bound it.
        instrument: such as BTC-PERPETUAL.
        endpoint: where the rows are from.
        cursor: see `series_cursor`; None for history behind it.
        merged: whether a row replaces the one with the same key. False: all are appended, with their load.
    """
    columns = _columns(endpoint)

    def rows(timestamp: Any = cursor) -> Tables:
        for table in read(timestamp):
            named = None if table is None else _named(table, instrument, endpoint)
            yield _in_microseconds(named) if merged and named is not None else named

    series = endpoint.series(instrument)
    key = [name for name in columns if name not in endpoint.values]
    found: DltResource = dlt.resource(
        rows,
        name=f"history of {series}" if cursor is None else series,
        table_name=endpoint.table,
        **_landing(columns, key, merged=merged),
    )
    return found


def _columns(endpoint: Endpoint) -> dict[str, TColumnSchema]:
    return {
        "instrument": column("text"),
        **({"resolution": column("text")} if endpoint.has_resolution else {}),
        "timestamp": column("timestamp"),
        **{name: column("double", nullable=True) for name in endpoint.values},
    }


def series_cursor(
    endpoint: Endpoint, lookback: int, start: datetime = EPOCH, end: datetime | None = None
) -> BoundCursor:
    """Return the incremental cursor of a series: the time of the newest row landed, less a look-back.

    Args:
        endpoint: where the rows are from.
        lookback: buckets before the cursor that may be landed again.
        start: the oldest time, inclusive.
        end: exclusive. A range with an end is read as a whole, and its cursor is not kept.
    """
    return dlt.sources.incremental(
        "timestamp",
        initial_value=start,
        end_value=end,
        lag=lookback * endpoint.resolution.lag_seconds,
        primary_key=(),
        row_order="asc",
    )


def instruments_resource(listed: Sequence[Instrument], seen_ms: int, *, merged: bool = False) -> DltResource:
    """Return the perpetuals that are new or have changed since the last snapshot, in the table `instruments`.

    Args:
        listed: the perpetuals that Deribit lists, and those whose end is to be landed.
        seen_ms: the server's clock at the listing, UTC ms.
        merged: whether a row replaces that of the same instrument. False: all are appended, with their load.
    """
    hints = _landing(INSTRUMENTS, ("instrument",), merged=merged)
    found: DltResource = dlt.resource(instruments, name="instruments", **hints)(listed, seen_ms)
    return found.add_map(_in_microseconds) if merged else found


def _landing(columns: Mapping[str, Any], key: Sequence[str], *, merged: bool) -> dict[str, Any]:
    if not merged:
        return {"write_disposition": "append", "columns": {**columns, **LOAD}}
    return {"write_disposition": "merge", "primary_key": key, "columns": columns}


def _in_microseconds(table: pa.Table) -> pa.Table:
    """Return a table with times in microseconds, which every destination has: dlt warns of other units."""
    microseconds = pa.timestamp("us", tz="UTC")
    fields = (one.with_type(microseconds) if one.type == TIME else one for one in table.schema)
    return table.cast(pa.schema(fields))


def _named(rows: pa.Table, instrument: str, endpoint: Endpoint) -> pa.Table:
    names = {"instrument": instrument}
    if endpoint.has_resolution:
        names["resolution"] = endpoint.resolution.name
    for at, (name, value) in enumerate(names.items()):
        column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int16()), rows.num_rows), [value])
        rows = rows.add_column(at, pa.field(name, column.type, nullable=False), column)
    return rows


def instruments(listed: Sequence[Instrument], seen_ms: int) -> Iterator[pa.Table]:
    """Yield the perpetuals that are new or changed since the last snapshot."""
    known: dict[str, str] = dlt.current.source_state().setdefault("instruments", {})
    changed = []
    for instrument in listed:
        fingerprint = hashlib.sha256(repr(astuple(instrument)).encode()).hexdigest()[:16]
        if instrument.ended_ms is not None:
            fingerprint = f"{ENDED}{instrument.ended_ms}"
        if known.get(instrument.name) != fingerprint:
            known[instrument.name] = fingerprint
            changed.append(instrument)
    rows = [
        {name: getattr(instrument, name, None) for name in INSTRUMENTS}
        | {"instrument": instrument.name, "created_at": instrument.created_ms, "seen_at": seen_ms}
        | {"ended_at": instrument.ended_ms}
        for instrument in changed
    ]
    if rows:
        yield to_arrow(rows, INSTRUMENTS)


def to_arrow(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> pa.Table:
    """Return rows as a table with the types of dlt's columns; times are UTC ms."""
    types = {
        "text": pa.string(),
        "timestamp": TIME,
        "bigint": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
    }
    schema = pa.schema(
        pa.field(name, types[hints["data_type"]], nullable=hints["nullable"])
        for name, hints in columns.items()
    )
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
