"""The loader's dlt source: a resource with an incremental cursor for each instrument, and the fetches.

| resource | table | disposition | cursor |
|---|---|---|---|
| `<table> <instrument> <resolution>` | that table | append | `timestamp`, with a look-back |
| `history of <series>` | the same | append | none: explicit ranges behind the cursor |
| `fetches` | fetches | append | none; enters owed windows and landed ranges into the source's state |
| `instruments` | instruments | append | none; only what changed since the last snapshot |

Cursors see every fetched row; the tables get only the new and changed ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.extract import DltResource
from dlt.extract.items_transform import MapItem

from extract.deribit.instruments import Instrument
from extract.load.endpoint import Endpoint
from extract.load.fetch import WindowResult
from extract.load.resources import (
    CONTRACT,
    LOAD,
    column,
    instruments_resource,
    series_cursor,
    series_resource,
    to_arrow,
)
from extract.load.state import SOURCE, landed_after, owed_after

WINDOWS_TOGETHER = 20
LANDS = "lands"

FETCHES = {
    "instrument": column("text"),
    "endpoint": column("text"),
    "resolution": column("text", nullable=True),
    "window_start": column("timestamp"),
    "window_end": column("timestamp"),
    "rows": column("bigint"),
    "new_rows": column("bigint"),
    "changed_rows": column("bigint"),
    "fetched_at": column("timestamp"),
    "origin": column("text"),
}


@dlt.source(name=SOURCE, max_table_nesting=0, schema_contract=CONTRACT)
def deribit(
    results: Sequence[WindowResult], listed: Sequence[Instrument], seen_ms: int, lookback: int
) -> Iterable[DltResource]:
    """Land one package of window results, freeing their rows one by one.

    Args:
        results: windows in the order of the plan; those with an error land nothing and are owed.
        listed: the perpetuals that Deribit lists, and those whose end is to be landed.
        seen_ms: the server's clock at the listing, UTC ms.
        lookback: buckets before the cursor that may be landed again.
    """
    good = [result for result in results if result.error is None and result.rows.num_rows]
    for (forward, instrument, endpoint), group in groupby(sorted(good, key=_place), key=_resource_key):
        tables = list(map(_with_marks, group))
        cursor = series_cursor(endpoint, lookback) if forward else None
        yield series_resource(partial(_rows, tables), instrument, endpoint, cursor).add_step(
            OnlyChanges(_only_changes)
        )
    evidence = [replace(result, table=None, lands=None) for result in results]
    yield dlt.resource(fetches, table_name="fetches", write_disposition="append", columns=FETCHES | LOAD)(
        evidence
    )
    yield instruments_resource(listed, seen_ms)


def _place(result: WindowResult) -> tuple[Any, ...]:
    window = result.window
    return (window.forward, window.series, window.start_ms)


def _resource_key(result: WindowResult) -> tuple[bool, str, Endpoint]:
    return (result.window.forward, result.window.instrument, result.window.endpoint)


def _rows(tables: list[pa.Table], _cursor: object) -> Iterator[pa.Table]:
    """Yield the rows of a resource, `WINDOWS_TOGETHER` windows at a time, and remove them from `tables`.

    dlt's work per table costs the same for any length, so tables are long. They are freed early, because dlt
    holds two copies of a table and the load a third.
    """
    while tables:
        together = pa.concat_tables(tables[:WINDOWS_TOGETHER])
        del tables[:WINDOWS_TOGETHER]
        yield together


def _with_marks(result: WindowResult) -> pa.Table:
    lands = pa.repeat(True, result.rows.num_rows) if result.lands is None else pa.array(result.lands)
    return result.rows.append_column(LANDS, lands)


class OnlyChanges(MapItem):
    """A step of a resource that dlt always runs after the cursor, whose placement affinity is 1."""

    placement_affinity = 2.0


def _only_changes(table: pa.Table) -> pa.Table | None:
    """Return the rows to land, of those that the cursor has passed on; None without any."""
    lands, rows = table[LANDS], table.drop_columns(LANDS)
    changes = rows if pc.all(lands).as_py() else rows.filter(lands)
    return changes if changes.num_rows else None


def fetches(results: Sequence[WindowResult]) -> Iterator[pa.Table]:
    """Yield one row per answered request; enter owed windows and landed ranges into the source's state."""
    state = dlt.current.source_state()
    state["owed"] = owed_after(state.get("owed", {}), results)
    state["landed"] = landed_after(state.get("landed", {}), results)
    rows = [
        {
            "instrument": result.window.instrument,
            "endpoint": result.window.endpoint.table,
            "resolution": result.window.resolution.name if result.window.endpoint.has_resolution else None,
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
        yield to_arrow(rows, FETCHES)
