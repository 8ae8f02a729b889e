"""Finds the new and changed candles of a package: only those are landed, because raw is a log of changes.

The source's state keeps which times were landed before. One query a package reads the newest version of each
candle at those times; other times need no look-up.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2.extensions import connection as PgConnection
from pyarrow import csv

from extract.core.ranges import TimeRange, intersect, merge
from extract.core.resolution import DAY_MS, Resolution
from extract.database.raw_tables import exists
from extract.deribit.candles import SCHEMA, VALUES, bucket_opens
from extract.load.fetch import WindowResult

Mask = npt.NDArray[np.bool_]

FAR_MS = 30 * DAY_MS
"""Times further apart than this, about a chunk, are read separately, so that no chunk between is opened."""

NEWEST = """
copy (
    select distinct on (instrument collate "C", "timestamp")
        instrument, (extract(epoch from "timestamp") * 1000)::bigint, {values}
    from ({islands}) as landed
    where _dlt_load_id not in (select load_id from deribit_raw._dlt_loads where status <> 0)
    order by instrument collate "C", "timestamp", _dlt_load_id::numeric desc
) to stdout (format csv)
"""
ISLAND = """
select candles.*
from deribit_raw.candles
join unnest(%(names)s, %(times)s::tstzmultirange[]) as asked (name, times) on name = instrument
where resolution = %(resolution)s
    and instrument = any(%(names)s)
    and "timestamp" >= %(start)s
    and "timestamp" < %(end)s
    and "timestamp" <@ times
"""


def mark(
    results: Sequence[WindowResult], landed: Mapping[str, Sequence[TimeRange]], opened: PgConnection
) -> list[WindowResult]:
    """Return a package's results with their new and changed candles marked: `WindowResult.lands` and `Fetch`.

    Args:
        results: window results of one resolution.
        landed: per instrument, the time ranges [start, end) that were landed before, UTC ms.
        opened: a connection to the database.
    """
    spans = {
        name: again
        for name, windows in _by_instrument(results).items()
        if (again := intersect(windows, landed.get(name, ())))
    }
    known = read_newest(opened, results[0].window.resolution, spans) if spans else {}
    marked = []
    for result, once in zip(results, told_last(results), strict=True):
        new, changed = differences(result.candles, known.get(result.window.instrument))
        marked.append(_with_marks(result, new & once, changed & once))
    return marked


def differences(came: pa.Table, known: pa.Table | None) -> tuple[Mask, Mask]:
    """Return which candles are new, and which differ in any value from the known ones.

    NaN equals NaN and null equals null.

    Args:
        came: the fetched candles, in the columns of `deribit.candles.SCHEMA`.
        known: the known candles, in the same columns, ascending; None: there are none.
    """
    if known is None or not known.num_rows:
        return np.ones(came.num_rows, bool), np.zeros(came.num_rows, bool)
    opens, before = bucket_opens(came), bucket_opens(known)
    at = np.minimum(np.searchsorted(before, opens), len(before) - 1)
    new = before[at] != opens
    differs = np.zeros(came.num_rows, bool)
    for name in VALUES:
        differs |= ~_same(came[name], known[name].take(pa.array(at)))
    return new, differs & ~new


def told_last(results: Sequence[WindowResult]) -> list[Mask]:
    """Return which candles to take from each window result; where windows overlap, the last one counts."""
    takes = [np.ones(result.candles.num_rows, bool) for result in results]
    places = sorted(range(len(results)), key=lambda at: (results[at].window.instrument, results[at].window))
    for _, group in groupby(places, lambda at: results[at].window.instrument):
        together = list(group)
        windows = [results[at].window for at in together]
        if all(one.end_ms <= two.start_ms for one, two in pairwise(windows)):
            continue
        together.sort(key=lambda at: max((fetch.fetched_ms for fetch in results[at].fetches), default=0))
        opens = np.concatenate([bucket_opens(results[at].candles) for at in together])
        order = np.argsort(opens, kind="stable")  # of one bucket the last result comes last
        last = np.ones(len(opens), bool)
        last[order[:-1]] = opens[order[:-1]] != opens[order[1:]]
        ends = np.cumsum([len(takes[at]) for at in together])
        for at, take in zip(together, np.split(last, ends[:-1]), strict=True):
            takes[at] = take
    return takes


def islands(spans: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the fewest ranges that cover all the given ones without the long stretches between them."""
    return [(start, end - FAR_MS) for start, end in merge((start, end + FAR_MS) for start, end in spans)]


def read_newest(
    opened: PgConnection, resolution: Resolution, spans: Mapping[str, Sequence[TimeRange]]
) -> dict[str, pa.Table]:
    """Return per instrument the newest version of each candle in complete loads, ascending, as in `SCHEMA`.

    The bounds are literals, so that only their chunks are opened.

    Args:
        opened: a connection to the database.
        resolution: of the candles.
        spans: per instrument, which times [start, end) to read, ascending, UTC ms.
    """
    with opened.cursor() as cursor:
        if not exists(cursor, "candles"):
            return {}
        names = {"names": list(spans), "times": list(map(_multirange, spans.values()))}
        parts = [
            cursor.mogrify(
                ISLAND, names | {"resolution": resolution.name, "start": _time(start), "end": _time(end)}
            ).decode()
            for start, end in islands(span for several in spans.values() for span in several)
        ]
        found = io.BytesIO()
        cursor.copy_expert(NEWEST.format(values=", ".join(VALUES), islands=" union all ".join(parts)), found)
    if not found.tell():
        return {}
    found.seek(0)
    table = csv.read_csv(
        found,
        csv.ReadOptions(column_names=["instrument", *SCHEMA.names]),
        convert_options=csv.ConvertOptions(
            column_types={"instrument": pa.string(), "timestamp": pa.int64()}
            | dict.fromkeys(VALUES, pa.float64()),
            null_values=[""],
        ),
    )
    candles = table.select(SCHEMA.names).cast(SCHEMA)
    return {name: candles.filter(pc.equal(table["instrument"], name)) for name in spans}


def _by_instrument(results: Sequence[WindowResult]) -> dict[str, list[TimeRange]]:
    windows: dict[str, list[TimeRange]] = {}
    for result in results:
        if result.candles.num_rows:
            window = result.window
            windows.setdefault(window.instrument, []).append((window.start_ms, window.end_ms))
    return windows


def _with_marks(result: WindowResult, new: Mask, changed: Mask) -> WindowResult:
    opens = bucket_opens(result.candles)
    fetches = []
    for fetch in result.fetches:
        inside = (opens >= fetch.start_ms) & (opens < fetch.end_ms)
        new_rows, changed_rows = (int((marks & inside).sum()) for marks in (new, changed))
        fetches.append(replace(fetch, new_rows=new_rows, changed_rows=changed_rows))
    return replace(result, fetches=tuple(fetches), lands=new | changed)


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Mask:
    missing, lacking = (column.is_null().to_numpy() for column in (one, other))
    a, b = (column.to_numpy() for column in (one, other))  # null as NaN
    same: Mask = (missing == lacking) & ((a == b) | (np.isnan(a) & np.isnan(b)))
    return same


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _multirange(spans: Sequence[TimeRange]) -> str:
    ranges = (f"[{_time(start).isoformat()},{_time(end).isoformat()})" for start, end in spans)
    return f"{{{','.join(ranges)}}}"
