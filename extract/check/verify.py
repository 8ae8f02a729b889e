"""Checks that the tables still match Deribit: fetches past windows again and compares them; loads nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from psycopg2.extensions import connection as PgConnection
from psycopg2.extensions import cursor as PgCursor

from extract.check import candles, rows
from extract.check.differences import UNUSABLE, Checked, Difference
from extract.core.ranges import TimeRange
from extract.database.database import Database
from extract.deribit.client import DeribitClient
from extract.deribit.rows import times_ms
from extract.errors import PerpsError
from extract.load.compare import differences, read_newest
from extract.load.endpoint import Endpoint
from extract.load.fetch import WindowResult, fetch_window
from extract.load.plan import Series, Window, plan_history
from extract.load.prefetch import Prefetcher
from extract.load.result import describe

STORED = {
    "candles": """
        select (extract(epoch from "timestamp") * 1000)::bigint, open, high, low, close, volume
        from public.perpetuals_ohlcv
        where instrument = %s
            and "timestamp" >= to_timestamp(%s / 1000.0)
            and "timestamp" < to_timestamp(%s / 1000.0)
    """,
    "funding": """
        select
            (extract(epoch from "timestamp") * 1000)::bigint,
            (extract(epoch from "timestamp") * 1000)::double precision as "timestamp",
            interest_1h,
            interest_8h,
            index_price,
            prev_index_price
        from public.perpetuals_funding
        where instrument = %s
            and "timestamp" >= to_timestamp(%s / 1000.0)
            and "timestamp" < to_timestamp(%s / 1000.0)
    """,
    "settlements": """
        select
            (extract(epoch from (settlement_day + time '08:00') at time zone 'utc') * 1000)::bigint,
            (extract(epoch from settled_at) * 1000)::double precision as "timestamp",
            open_interest as position,
            mark_price,
            index_price,
            profit_loss,
            session_profit_loss
        from public.perpetuals_settlements
        where instrument = %s
            and (settlement_day + time '08:00') at time zone 'utc' >= to_timestamp(%s / 1000.0)
            and (settlement_day + time '08:00') at time zone 'utc' < to_timestamp(%s / 1000.0)
    """,
}
"""By endpoint, the query of its table: the open of the bucket, then the columns with Deribit's names."""

KNOWN = """
select
    coalesce(nullif(trim(endpoint), ''), 'candles'),
    instrument,
    (extract(epoch from gap_start) * 1000)::bigint,
    (extract(epoch from gap_end) * 1000)::bigint
from quality.known_gaps
where gap_start < gap_end and coalesce(nullif(trim(endpoint), ''), 'candles') = 'candles'
"""

Histories = Mapping[Endpoint, Mapping[str, TimeRange]]
"""By endpoint and instrument, bucket opens [start, end), UTC ms."""


def draw_windows(histories: Histories, now_ms: int, count: int, seed: int) -> list[Window]:
    """Return `count` windows of all histories, drawn without repeats; fewer when there are no more.

    Every window is equally likely, so an instrument's share grows with the length of its history.

    Args:
        histories: what the tables have.
        now_ms: Deribit's clock, UTC ms; later buckets are not closed.
        count: number of windows.
        seed: the same seed and histories give the same windows.
    """
    windows = cut_histories(histories, now_ms)
    drawn = random.Random(seed).sample(windows, min(count, len(windows)))  # noqa: S311
    return sorted(drawn, key=lambda window: (window.series, window.start_ms))


def cut_histories(histories: Histories, now_ms: int) -> list[Window]:
    """Return windows that cover each closed bucket of the histories once."""
    return [
        window
        for endpoint, ranges in histories.items()
        for name, history in sorted(ranges.items())
        for window in plan_history(Series(name, endpoint, history[0], now_ms), history)
    ]


def check_windows(
    client: DeribitClient, database: Database, windows: Sequence[Window], listed: Mapping[str, int]
) -> Iterator[Checked]:
    """Fetch windows and compare each with its table.

    Args:
        client: the Deribit client.
        database: the database with the tables.
        windows: the windows to fetch.
        listed: creation time of each listed instrument, UTC ms.

    Raises:
        PerpsError: a window could not be fetched.
    """

    def fetch(window: Window) -> WindowResult:
        return fetch_window(client, window, listed.get(window.instrument, window.start_ms))

    with Prefetcher(fetch, windows, stop=client.stop) as prefetcher, database.reading() as cursor:
        cursor.execute(KNOWN)
        entries = cursor.fetchall()
        for window in windows:
            (result,) = prefetcher.take(1)
            if result.error is not None:
                raise PerpsError(
                    f"could not fetch {describe(window)}: {result.error}; run the same command again"
                )
            stored = _read_stored(cursor, window)
            known = _read_raw(cursor.connection, window)
            compared, found = _compare(result, stored, known)
            settled = [(start, end) for *series, start, end in entries if series == _named(window)]
            found = [
                difference
                for difference in found
                if difference.kind != UNUSABLE
                or difference.at_ms in stored
                or not any(start < difference.at_ms < end for start, end in settled)
            ]
            landed = _landed(result, known) if found else frozenset()
            yield Checked(window, compared, found, landed)


def _named(window: Window) -> list[str]:
    return [window.endpoint.table, window.instrument]


def _read_stored(cursor: PgCursor, window: Window) -> dict[int, tuple[Decimal | float, ...]]:
    cursor.execute(STORED[window.endpoint.table], [window.instrument, window.start_ms, window.end_ms])
    return {at: tuple(values) for at, *values in cursor.fetchall()}


def _compare(
    result: WindowResult, stored: Mapping[int, tuple[Any, ...]], known: pa.Table | None
) -> tuple[int, list[Difference]]:
    """Return how many rows were compared, and the differences."""
    window = result.window
    if window.endpoint.has_resolution:
        replied = candles.read_candles(result.rows)
        raw = candles.read_candles(known) if known else {}
        found = candles.compare(window.instrument, window.resolution, stored, replied, raw)
        return len(stored.keys() | replied.keys()), found
    columns = result.rows.column_names
    mine = {at: dict(zip(columns, values, strict=True)) for at, values in stored.items()}
    theirs = rows.read_rows(result.rows, window.endpoint)
    return len(mine.keys() | theirs.keys()), rows.compare(window.instrument, window.endpoint, mine, theirs)


def _read_raw(opened: PgConnection, window: Window) -> pa.Table | None:
    span = {window.instrument: [(window.start_ms, window.end_ms)]}
    return read_newest(opened, window.endpoint, span).get(window.instrument)


def _landed(result: WindowResult, known: pa.Table | None) -> frozenset[int]:
    """Return the bucket opens, UTC ms, of the rows that the raw tables already hold unchanged."""
    new, changed = differences(result.rows, known)
    times = times_ms(result.rows)[~(new | changed)].tolist()
    if result.window.endpoint.at_open:
        times = [result.window.resolution.floor(at) for at in times]
    return frozenset(times)
