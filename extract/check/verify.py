"""Check that the table still matches Deribit: fetch past windows again and compare; nothing is loaded."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from psycopg2.extensions import connection as PgConnection

from extract.core.ranges import TimeRange
from extract.core.resolution import Resolution
from extract.core.times import format_time
from extract.database.database import Database
from extract.deribit.client import DeribitClient
from extract.deribit.rows import times_ms
from extract.errors import PerpsError
from extract.load.compare import differences, read_newest
from extract.load.endpoint import candles
from extract.load.fetch import WindowResult, fetch_window
from extract.load.plan import Series, Window, plan_history
from extract.load.prefetch import Prefetcher
from extract.load.result import describe

COLUMNS = ("open", "high", "low", "close", "volume")
EIGHT = Decimal("0.00000001")
TOO_LARGE = 1e10  # numeric(18,8) has ten digits before the point
CHANGED, MISSING, GONE, UNUSABLE = "changed", "missing in the table", "not at deribit", "unusable at deribit"
REPAIRABLE = frozenset({CHANGED, MISSING})

STORED = """
select (extract(epoch from "timestamp") * 1000)::bigint, open, high, low, close, volume
from public.perpetuals_ohlcv
where instrument = %s
    and "timestamp" >= to_timestamp(%s / 1000.0)
    and "timestamp" < to_timestamp(%s / 1000.0)
"""

KNOWN = """
select
    instrument,
    (extract(epoch from gap_start) * 1000)::bigint,
    (extract(epoch from gap_end) * 1000)::bigint
from quality.known_gaps
where gap_start < gap_end and coalesce(nullif(trim(endpoint), ''), 'candles') = 'candles'
"""

Stored = tuple[Decimal, ...]
Replied = tuple[float | None, ...]
Values = tuple[Decimal | float | None, ...]


@dataclass(frozen=True)
class Difference:
    """A candle that differs between the table and Deribit.

    Attributes:
        instrument: the instrument.
        at_ms: bucket open, UTC ms.
        kind: changed, missing in the table, not at deribit (fetched twice), or unusable at deribit (null, not
            a number, too large for numeric(18,8), or off the bucket grid).
        columns: the columns that differ, or that are unusable; none when one side has no candle.
        stored, deribit: values of those columns. A float in `stored` is the raw value: the table agrees
            to its eight decimals.
    """

    instrument: str
    at_ms: int
    kind: str
    columns: tuple[str, ...] = ()
    stored: Values = ()
    deribit: Values = ()

    def __str__(self) -> str:
        values = "; ".join(
            f"{column} {_shown(mine)} in {'raw' if isinstance(mine, float) else 'the table'}, "
            f"{_shown(theirs)} at deribit"
            for column, mine, theirs in zip(self.columns, self.stored, self.deribit, strict=True)
        )
        return f"{self.instrument} {format_time(self.at_ms)} {self.kind}{': ' if values else ''}{values}"


@dataclass(frozen=True)
class Checked:
    """A window compared.

    Attributes:
        window: what was compared.
        candles: how many candles were compared, on either side.
        differences: by time.
        landed: bucket opens, UTC ms, where the raw tables match Deribit, so that only the table is wrong.
    """

    window: Window
    candles: int
    differences: list[Difference]
    landed: frozenset[int] = frozenset()


def draw_windows(
    histories: Mapping[str, TimeRange], resolution: Resolution, now_ms: int, count: int, seed: int
) -> list[Window]:
    """Return `count` windows of all histories, drawn without repeats; fewer when there are no more.

    Every window is equally likely, so an instrument's share grows with the length of its history.

    Args:
        histories: per instrument, bucket opens [start, end), UTC ms.
        resolution: of the table.
        now_ms: Deribit's clock, UTC ms; later candles are not closed.
        count: number of windows.
        seed: the same seed and histories give the same windows.
    """
    windows = cut_histories(histories, resolution, now_ms)
    drawn = random.Random(seed).sample(windows, min(count, len(windows)))  # noqa: S311
    return sorted(drawn)


def cut_histories(histories: Mapping[str, TimeRange], resolution: Resolution, now_ms: int) -> list[Window]:
    """Return windows of at most 5,000 candles that cover each closed candle of the histories once."""
    return [
        window
        for name, history in sorted(histories.items())
        for window in plan_history(Series(name, candles(resolution), history[0], now_ms), history)
    ]


def check_windows(
    client: DeribitClient, database: Database, windows: Sequence[Window], listed: Mapping[str, int]
) -> Iterator[Checked]:
    """Fetch windows and compare each with the table.

    Args:
        client: the Deribit client.
        database: the database with perpetuals_ohlcv.
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
            cursor.execute(STORED, [window.instrument, window.start_ms, window.end_ms])
            stored = {at: tuple(values) for at, *values in cursor.fetchall()}
            replied = read_candles(result.rows)
            known = _read_raw(cursor.connection, window)
            raw = read_candles(known) if known else {}
            settled = [(start, end) for name, start, end in entries if name == window.instrument]
            found = [
                difference
                for difference in compare(window.instrument, window.resolution, stored, replied, raw)
                if difference.kind != UNUSABLE
                or difference.at_ms in stored
                or not any(start < difference.at_ms < end for start, end in settled)
            ]
            landed = _landed(result, known) if found else frozenset()
            yield Checked(window, len(stored.keys() | replied.keys()), found, landed)


def _read_raw(opened: PgConnection, window: Window) -> pa.Table | None:
    span = {window.instrument: [(window.start_ms, window.end_ms)]}
    return read_newest(opened, window.endpoint, span).get(window.instrument)


def _landed(result: WindowResult, known: pa.Table | None) -> frozenset[int]:
    """Return the bucket opens, UTC ms, of the candles that the raw tables already hold unchanged."""
    new, changed = differences(result.rows, known)
    opens = times_ms(result.rows)
    return frozenset(opens[~(new | changed)].tolist())


def read_candles(table: pa.Table) -> dict[int, Replied]:
    """Return a table's candles by bucket open, UTC ms: open, high, low, close, volume."""
    opens = times_ms(table).tolist()
    values = zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)
    return dict(zip(opens, values, strict=True))


def compare(
    instrument: str,
    resolution: Resolution,
    stored: Mapping[int, Stored],
    replied: Mapping[int, Replied],
    raw: Mapping[int, Replied],
) -> list[Difference]:
    """Return where Deribit differs from the table, to eight decimals, or from the raw tables, in any digit.

    Args:
        instrument: the instrument.
        resolution: of the candles.
        stored: the table's candles by bucket open, UTC ms.
        replied: Deribit's candles of the same time range.
        raw: the same candles in the raw tables; those that were dropped there are absent.
    """
    found: list[Difference] = []
    for at in sorted(stored.keys() | replied.keys()):
        if at not in replied:
            found.append(Difference(instrument, at, GONE))
            continue
        on_grid = not resolution.count_off_grid(np.array([at]))
        if finding := _finding(stored.get(at), replied[at], raw.get(at), on_grid=on_grid):
            found.append(Difference(instrument, at, *finding))
    return found


class _Finding(NamedTuple):
    """What differs in a candle: see `Difference`."""

    kind: str
    columns: tuple[str, ...] = ()
    stored: Values = ()
    deribit: Values = ()


def _finding(
    stored: Stored | None, replied: Replied, raw: Replied | None, *, on_grid: bool
) -> _Finding | None:
    unusable = [n for n, value in enumerate(replied) if not _usable(value)]
    if unusable or not on_grid:
        return _at(UNUSABLE, unusable, stored, replied)
    if stored is None:
        return _Finding(MISSING)
    exact = tuple(to_stored(value) for value in replied if value is not None)
    changed = [n for n, value in enumerate(exact) if value != stored[n]]
    if changed:
        return _at(CHANGED, changed, stored, exact)
    digits = [n for n, value in enumerate(raw or ()) if value is not None and value != replied[n]]
    return _at(CHANGED, digits, raw, replied) if digits else None


def _at(kind: str, positions: Sequence[int], stored: Values | None, replied: Values) -> _Finding:
    return _Finding(
        kind,
        tuple(COLUMNS[n] for n in positions),
        tuple(stored[n] if stored else None for n in positions),
        tuple(replied[n] for n in positions),
    )


def _shown(value: Decimal | float | None) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and abs(value) < TOO_LARGE


def to_stored(value: float) -> Decimal:
    """Return a double as numeric(18,8) stores it: its shortest spelling, rounded half away from zero."""
    return Decimal(repr(value)).quantize(EIGHT, ROUND_HALF_UP)
