"""Finds the new and changed rows of a package: only those are landed, because raw is a log of changes.

The source's state has the time ranges that were landed before. One query for each package and endpoint reads
the newest version of each row in these ranges. Rows at other times are new.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from extract.core.resolution import DAY_MS
from extract.database.raw_tables import exists
from extract.deribit.rows import times_ms
from extract.load.endpoint import Endpoint
from extract.load.fetch import WindowResult

Mask = npt.NDArray[np.bool_]

FAR_MS = 30 * DAY_MS
"""Ranges further apart than this, about a chunk, are read separately, so that no chunk between is opened."""

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
select rows.*
from deribit_raw.{table} as rows
join unnest(%(names)s, %(times)s::tstzmultirange[]) as wanted (name, times) on name = instrument
where instrument = any(%(names)s)
    and "timestamp" >= %(start)s
    and "timestamp" < %(end)s
    and "timestamp" <@ times
    {and_resolution}
"""


def mark(
    results: Sequence[WindowResult],
    landed: Callable[[str, Endpoint], Sequence[TimeRange]],
    opened: PgConnection,
) -> list[WindowResult]:
    """Return a package's results with `WindowResult.lands`, and the counts of each `Fetch`, filled in.

    Args:
        results: window results.
        landed: returns the time ranges [start, end), UTC ms, that were landed before, by instrument and
            endpoint.
        opened: a connection to the database.
    """
    known: dict[str, pa.Table] = {}
    for endpoint, windows in _by_endpoint(results).items():
        spans = {
            name: again
            for name, ranges in windows.items()
            if (again := intersect(ranges, landed(name, endpoint)))
        }
        newest = read_newest(opened, endpoint, spans) if spans else {}
        known |= {endpoint.series(name): rows for name, rows in newest.items()}
    marked = []
    for result, once in zip(results, rows_to_take(results), strict=True):
        new, changed = differences(result.rows, known.get(result.window.series))
        marked.append(_with_marks(result, new & once, changed & once))
    return marked


def differences(fetched: pa.Table, known: pa.Table | None) -> tuple[Mask, Mask]:
    """Return which rows are new, and which differ in any value from the known ones.

    NaN equals NaN and null equals null.

    Args:
        fetched: the fetched rows, in the columns of `Endpoint.schema`.
        known: the known rows, in the same columns, ascending; None: there are none.
    """
    if known is None or not known.num_rows:
        return np.ones(fetched.num_rows, bool), np.zeros(fetched.num_rows, bool)
    times, before = times_ms(fetched), times_ms(known)
    at = np.minimum(np.searchsorted(before, times), len(before) - 1)
    new = before[at] != times
    differs = np.zeros(fetched.num_rows, bool)
    for name in fetched.column_names[1:]:
        differs |= ~_same(fetched[name], known[name].take(pa.array(at)))
    return new, differs & ~new


def rows_to_take(results: Sequence[WindowResult]) -> list[Mask]:
    """Return a mask of the rows to take from each window result: where windows overlap, the newest ones."""
    takes = [np.ones(result.rows.num_rows, bool) for result in results]
    places = sorted(range(len(results)), key=lambda at: (results[at].window.series, results[at].window))
    for _, group in groupby(places, lambda at: results[at].window.series):
        together = list(group)
        windows = [results[at].window for at in together]
        if all(one.end_ms <= two.start_ms for one, two in pairwise(windows)):
            continue
        together.sort(key=lambda at: max((fetch.fetched_ms for fetch in results[at].fetches), default=0))
        opens = np.concatenate([times_ms(results[at].rows) for at in together])
        order = np.argsort(opens, kind="stable")  # stable: the rows of a bucket stay in order of fetching
        last = np.ones(len(opens), bool)
        last[order[:-1]] = opens[order[:-1]] != opens[order[1:]]
        ends = np.cumsum([len(takes[at]) for at in together])
        for at, take in zip(together, np.split(last, ends[:-1]), strict=True):
            takes[at] = take
    return takes


def islands(spans: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the given ranges, joined where less than `FAR_MS` lies between them."""
    return [(start, end - FAR_MS) for start, end in merge((start, end + FAR_MS) for start, end in spans)]


def read_newest(
    opened: PgConnection, endpoint: Endpoint, spans: Mapping[str, Sequence[TimeRange]]
) -> dict[str, pa.Table]:
    """Return by instrument the newest version of each row in complete loads, as in `Endpoint.schema`.

    The time bounds are literals, so that TimescaleDB opens only the chunks between them.

    Args:
        opened: a connection to the database.
        endpoint: the endpoint to read.
        spans: by instrument, the time ranges [start, end) to read, ascending, UTC ms.
    """
    with opened.cursor() as cursor:
        if not exists(cursor, endpoint.table):
            return {}
        values = {
            "names": list(spans),
            "times": list(map(_multirange, spans.values())),
            "resolution": endpoint.resolution.name,
        }
        of_resolution = "and resolution = %(resolution)s" if endpoint.has_resolution else ""
        island = ISLAND.format(table=endpoint.table, and_resolution=of_resolution)
        parts = [
            cursor.mogrify(island, values | {"start": _time(start), "end": _time(end)}).decode()
            for start, end in islands(span for several in spans.values() for span in several)
        ]
        found = io.BytesIO()
        cursor.copy_expert(
            NEWEST.format(values=", ".join(endpoint.values), islands=" union all ".join(parts)), found
        )
    if not found.tell():
        return {}
    found.seek(0)
    table = csv.read_csv(
        found,
        csv.ReadOptions(column_names=["instrument", *endpoint.schema.names]),
        convert_options=csv.ConvertOptions(
            column_types={"instrument": pa.string(), "timestamp": pa.int64()}
            | dict.fromkeys(endpoint.values, pa.float64()),
            null_values=[""],
        ),
    )
    rows = table.select(endpoint.schema.names).cast(endpoint.schema)
    return {name: rows.filter(pc.equal(table["instrument"], name)) for name in spans}


def _by_endpoint(results: Sequence[WindowResult]) -> dict[Endpoint, dict[str, list[TimeRange]]]:
    """Return the time ranges of the windows that have rows, by endpoint and instrument."""
    windows: dict[Endpoint, dict[str, list[TimeRange]]] = {}
    for result in results:
        if result.rows.num_rows:
            window = result.window
            named = windows.setdefault(window.endpoint, {})
            named.setdefault(window.instrument, []).append((window.start_ms, window.end_ms))
    return windows


def _with_marks(result: WindowResult, new: Mask, changed: Mask) -> WindowResult:
    times = times_ms(result.rows)
    fetches = []
    for fetch in result.fetches:
        inside = (times >= fetch.start_ms) & (times < fetch.end_ms)
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
