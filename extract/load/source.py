"""The dlt source: one resource per instrument with its own incremental cursor, plus the evidence.

| resource | table | disposition | cursor |
|---|---|---|---|
| `candles <instrument> <resolution>` | candles | append | `timestamp`, with a look-back (`lag`) |
| `history <instrument> <resolution>` | candles | append | none: explicit ranges behind the cursor |
| `fetches` | fetches | append | none; keeps in the source's state which windows are owed, which landed |
| `instruments` | instruments | append | none; only what changed since the last snapshot |

Cursors see every candle that came, the tables only those that are new or changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from itertools import groupby
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.extract import DltResource
from dlt.extract.items_transform import MapItem

from extract.core.resolution import Resolution
from extract.deribit.candles import SCHEMA, VALUES
from extract.deribit.instruments import Instrument
from extract.load.fetch import WindowResult
from extract.load.state import ENDED, EPOCH, SOURCE, landed_after, owed_after, resource_name

WINDOWS_TOGETHER = 20
TIME = pa.timestamp("ms", tz="UTC")
LANDS = "lands"

_text: dict[str, Any] = {"data_type": "text", "nullable": False}
_time: dict[str, Any] = {"data_type": "timestamp", "nullable": False}
_count: dict[str, Any] = {"data_type": "bigint", "nullable": False}
_load: dict[str, Any] = {"_dlt_load_id": {"data_type": "text", "nullable": False}}
CANDLES = (
    {"instrument": _text, "resolution": _text, "timestamp": _time}
    | {name: {"data_type": "double", "nullable": True} for name in VALUES}
    | _load
)
FETCHES = {
    "instrument": _text,
    "resolution": _text,
    "window_start": _time,
    "window_end": _time,
    "rows": _count,
    "new_rows": _count,
    "changed_rows": _count,
    "fetched_at": _time,
    "origin": _text,
} | _load
INSTRUMENTS = (
    {"instrument": _text, "created_at": _time}
    | {
        name: {"data_type": "text", "nullable": True}
        for name in ("base_currency", "quote_currency", "settlement_currency", "instrument_type")
    }
    | {
        name: {"data_type": "double", "nullable": True}
        for name in ("tick_size", "contract_size", "min_trade_amount")
    }
    | {
        "is_active": {"data_type": "bool", "nullable": True},
        "ended_at": {"data_type": "timestamp", "nullable": True},
        "seen_at": _time,
    }
    | _load
)


@dlt.source(
    name=SOURCE,
    max_table_nesting=0,
    schema_contract={"tables": "evolve", "columns": "freeze", "data_type": "freeze"},
)
def deribit(
    results: Sequence[WindowResult], listed: Sequence[Instrument], seen_ms: int, lookback: int
) -> Iterable[DltResource]:
    """Land one package of answered windows, letting go of their candles one by one.

    Args:
        results: windows in the order of the plan; those with an error land nothing and are owed.
        listed: the perpetuals that Deribit lists, and those whose end is to be landed.
        seen_ms: the server's clock at the listing, UTC ms.
        lookback: buckets before the cursor that may be landed again.
    """
    good = [result for result in results if result.error is None and result.candles.num_rows]
    for (forward, instrument, resolution), group in groupby(sorted(good, key=_place), key=_resource_key):
        name = resource_name(instrument, resolution) if forward else f"history {instrument} {resolution.name}"
        yield dlt.resource(
            _candles,
            name=name,
            table_name="candles",
            write_disposition="append",
            columns=CANDLES,
            incremental=cursor_of(resolution, lookback) if forward else None,
        )(list(map(_with_marks, group)), instrument, resolution).add_step(OnlyChanges(_only_changes))
    evidence = [replace(result, candles=SCHEMA.empty_table(), lands=None) for result in results]
    yield dlt.resource(fetches, table_name="fetches", write_disposition="append", columns=FETCHES)(evidence)
    yield dlt.resource(
        instruments, table_name="instruments", write_disposition="append", columns=INSTRUMENTS
    )(listed, seen_ms)


def _place(result: WindowResult) -> tuple[Any, ...]:
    window = result.window
    return (window.forward, window.instrument, window.resolution.name, window.start_ms)


def _resource_key(result: WindowResult) -> tuple[bool, str, Resolution]:
    return (result.window.forward, result.window.instrument, result.window.resolution)


def cursor_of(resolution: Resolution, lookback: int) -> Any:
    """Return the incremental cursor of candles: the newest bucket open landed, less a look-back."""
    return dlt.sources.incremental(
        "timestamp",
        initial_value=EPOCH,
        lag=lookback * resolution.lag_seconds,
        primary_key=(),
        row_order="asc",
    )


def _candles(tables: list[pa.Table], instrument: str, resolution: Resolution) -> Iterator[pa.Table]:
    """Yield the candles of a resource, many windows at a time, and let go of them: `tables` is emptied.

    What dlt does with a table costs the same for any length; but it holds two copies, and the load one.
    """
    while tables:
        table = pa.concat_tables(tables[:WINDOWS_TOGETHER])
        del tables[:WINDOWS_TOGETHER]
        for at, (name, value) in enumerate((("instrument", instrument), ("resolution", resolution.name))):
            column = _constant(value, table.num_rows)
            table = table.add_column(at, pa.field(name, column.type, nullable=False), column)
        yield table


def _with_marks(result: WindowResult) -> pa.Table:
    lands = pa.repeat(True, result.candles.num_rows) if result.lands is None else pa.array(result.lands)
    return result.candles.append_column(LANDS, lands)


class OnlyChanges(MapItem):
    """A step of a resource that dlt keeps behind the cursor, whose affinity is 1, wherever that is put."""

    placement_affinity = 2.0


def _only_changes(table: pa.Table) -> pa.Table | None:
    """Return what is to be landed of candles that the cursor has seen; None for nothing."""
    lands, candles = table[LANDS], table.drop_columns(LANDS)
    changes = candles if pc.all(lands).as_py() else candles.filter(lands)
    return changes if changes.num_rows else None


def _constant(value: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int16()), rows), [value])


def fetches(results: Sequence[WindowResult]) -> Iterator[pa.Table]:
    """Yield one row per answered request; keep in the source's state which windows are owed, which landed."""
    state = dlt.current.source_state()
    state["owed"] = owed_after(state.get("owed", {}), results)
    state["landed"] = landed_after(state.get("landed", {}), results)
    rows = [
        {
            "instrument": result.window.instrument,
            "resolution": result.window.resolution.name,
            "window_start": fetch.start_ms,
            "window_end": fetch.end_ms,
            "rows": fetch.rows,
            "new_rows": fetch.new_rows,
            "changed_rows": fetch.changed_rows,
            "fetched_at": fetch.fetched_ms,
            "origin": fetch.origin,
        }
        for result in results
        for fetch in result.fetches
    ]
    if rows:
        state["origin"] = rows[0]["origin"]
        yield _arrow(rows, FETCHES)


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
        yield _arrow(rows, INSTRUMENTS)


def _arrow(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> pa.Table:
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
        if name != "_dlt_load_id"
    )
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
