"""Which candles of which table to read, cut by instrument and month into ranges with literal bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from psycopg2.extensions import QuotedString

from extract.core.ranges import TimeRange
from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS
from extract.database.database import Database
from extract.errors import UsageError
from extract.transform.models import pick, read_resolution
from extract.transform.runner import expecting_models

ROLLUPS = {
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "1h": HOUR_MS,
    "4h": 4 * HOUR_MS,
    "1d": DAY_MS,
    "1d_settlement": DAY_MS,
}
"""Length of a bucket in ms, by the ending of the table's name."""

PRICES = ("open", "high", "low", "close")

BUILT = """
select relname from pg_class
where relnamespace = 'public'::regnamespace and relkind = 'r' and relname like 'perpetuals\\_ohlcv%'
"""

# from the table itself, by its index: after a failed build, quality.ohlcv_days may be behind it
HISTORIES = """
select
    known.instrument,
    (extract(epoch from first.at) * 1000)::bigint,
    (extract(epoch from last.at) * 1000)::bigint
from quality.ohlcv_coverage as known
cross join lateral (
    select "timestamp" as at from public.{table} as candles
    where candles.instrument = known.instrument order by "timestamp" limit 1
) as first
cross join lateral (
    select "timestamp" as at from public.{table} as candles
    where candles.instrument = known.instrument order by "timestamp" desc limit 1
) as last
"""


@dataclass(frozen=True)
class Part:
    """The candles of an instrument that open in [start, end), UTC ms."""

    instrument: str
    start_ms: int
    end_ms: int

    def where(self) -> str:
        """Return the condition and order of a query; with literals it opens only the chunks it needs."""
        return (
            f"where instrument = {_literal(self.instrument)}"
            f" and \"timestamp\" >= '{_utc(self.start_ms)}' and \"timestamp\" < '{_utc(self.end_ms)}'"
            ' order by "timestamp"'
        )


@dataclass(frozen=True)
class Selection:
    """Candles of one resolution: for each instrument, those that the table has in [start, end).

    Attributes:
        resolution: of the candles.
        step_ms: length of their buckets.
        is_rollup: whether they are aggregated from shorter candles.
        start_ms: inclusive, UTC ms.
        end_ms: exclusive.
        histories: by instrument, the open of its first candle and the end of its last one, UTC ms.
    """

    resolution: str
    step_ms: int
    is_rollup: bool
    start_ms: int
    end_ms: int
    histories: Mapping[str, TimeRange]

    @property
    def table(self) -> str:
        """Return the name of the table, with its schema."""
        return f"public.{_table(self.resolution, self.is_rollup)}"

    @property
    def schema(self) -> pa.Schema:
        """Return the columns of the table in order, each with a type that holds the same values."""
        columns = {"timestamp": pa.timestamp("us", "UTC"), "instrument": pa.string()}
        columns |= dict.fromkeys(PRICES, pa.decimal128(18, 8))
        columns["volume"] = pa.decimal128(38 if self.is_rollup else 18, 8)
        if self.is_rollup:
            columns |= {"candles": pa.int32(), "complete": pa.bool_()}
        return pa.schema(columns.items(), metadata={"resolution": self.resolution})

    def parts(self, months: int = 0) -> Iterator[Part]:
        """Yield the parts to read, sorted by instrument and time.

        Args:
            months: the most months in a part; 0 for as many as have as many rows as a month of minutes.
        """
        for name in sorted(self.histories):
            first, last = self.histories[name]
            wanted = max(self.start_ms, first), min(self.end_ms, last)
            for start, end in _by_months(*wanted, months or self.step_ms // MINUTE_MS):
                yield Part(name, start, end)


def select(
    database: Database, instruments: Sequence[str], time_range: TimeRange, resolution: str
) -> Selection:
    """Return the candles to read.

    Args:
        database: with the models built.
        instruments: names, or `all`.
        time_range: [start, end), UTC ms.
        resolution: that of the table, or one of `ROLLUPS`.

    Raises:
        PerpsError: the models are not built yet.
        UsageError: the table has no such instrument, or there is none of this resolution.
    """
    if not instruments:
        raise UsageError("expected names of instruments, or all, got none")
    base = read_resolution(database)
    with expecting_models(), database.reading() as cursor:
        cursor.execute(BUILT)
        built = {name for (name,) in cursor.fetchall()}
        known = {base.name: base.step_ms} | {
            name: step for name, step in ROLLUPS.items() if _table(name, is_rollup=True) in built
        }
        if resolution not in known:
            raise UsageError(f"expected a resolution of {', '.join(known)}, got {resolution!r}")
        is_rollup, step_ms = resolution != base.name, known[resolution]
        cursor.execute(HISTORIES.format(table=_table(resolution, is_rollup)))
        histories = {name: (first, last + step_ms) for name, first, last in cursor.fetchall()}
    return Selection(resolution, step_ms, is_rollup, *time_range, pick(histories, instruments))


def month_of(at_ms: int) -> str:
    """Return the UTC month of a time as `2024-01`."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m}"


def _by_months(start_ms: int, end_ms: int, months: int) -> Iterator[TimeRange]:
    """Yield [start, end) in parts that end with a month."""
    while start_ms < end_ms:
        opens = datetime.fromtimestamp(start_ms / 1000, UTC)
        after = opens.year * 12 + opens.month - 1 + months
        until = datetime(after // 12, after % 12 + 1, 1, tzinfo=UTC)
        until_ms = min(end_ms, int(until.timestamp()) * 1000)
        yield start_ms, until_ms
        start_ms = until_ms


def _table(resolution: str, is_rollup: bool) -> str:
    return f"perpetuals_ohlcv_{resolution}" if is_rollup else "perpetuals_ohlcv"


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _literal(text: str) -> str:
    quoted = QuotedString(text)
    quoted.encoding = "utf-8"
    return quoted.getquoted().decode()
