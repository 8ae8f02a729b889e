"""The tables that can be exported: candles of each resolution, funding and settlements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from extract.core.names import TABLES
from extract.core.ranges import TimeRange
from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS
from extract.database.database import Database
from extract.errors import UsageError
from extract.transform.models import read_resolution
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

MOMENT, TEXT, DOUBLE = pa.timestamp("us", "UTC"), pa.string(), pa.float64()
PRICES = ("open", "high", "low", "close")
RATES = ("interest_1h", "interest_8h", "index_price", "prev_index_price")
SETTLED = ("open_interest", "mark_price", "index_price", "profit_loss", "session_profit_loss")

BUILT = """
select relname from pg_class
where relnamespace = 'public'::regnamespace and relkind = 'r' and relname like 'perpetuals\\_ohlcv%'
"""

# from the table's own index: after a failed build, quality.ohlcv_days may be behind the table
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
class Table:
    """A table with one row for each instrument and bucket.

    Attributes:
        kind: one of `ENDPOINTS`.
        name: its name, with the schema.
        resolution: of its buckets, as people type it.
        step_ms: length of its buckets, ms.
        columns: its columns in order, with Arrow types that hold the same values. The first is its time.
        day: the date column by which it is cut into chunks; empty: it is cut by its time.
        clock: format of its time in CSV files, UTC, as for PostgreSQL's `to_char`.
        bounds: the relation to name in messages, which shows when its rows begin and end.
    """

    kind: str
    name: str
    resolution: str
    step_ms: int
    columns: Mapping[str, pa.DataType]
    day: str = ""
    clock: str = 'YYYY-MM-DD"T"HH24:MI:SS"Z"'
    bounds: str = ""

    @property
    def time(self) -> str:
        """Return the name of its time column, by which rows are selected."""
        return next(iter(self.columns))

    @property
    def schema(self) -> pa.Schema:
        """Return the columns, with the resolution as metadata."""
        return pa.schema(self.columns.items(), metadata={"resolution": self.resolution})


FUNDING = Table(
    kind="funding",
    name=f"public.{TABLES['funding']}",
    resolution="60",
    step_ms=HOUR_MS,
    columns={"timestamp": MOMENT, "instrument": TEXT} | dict.fromkeys(RATES, DOUBLE),
    bounds=TABLES["funding"],
)
SETTLEMENTS = Table(
    kind="settlements",
    name=f"public.{TABLES['settlements']}",
    resolution="1D",
    step_ms=DAY_MS,
    columns={"settled_at": MOMENT, "settlement_day": pa.date32(), "instrument": TEXT}
    | dict.fromkeys(SETTLED, DOUBLE),
    day="settlement_day",
    clock='YYYY-MM-DD"T"HH24:MI:SS.US"Z"',  # Deribit settles some milliseconds after 08:00
    bounds=TABLES["settlements"],
)
OTHERS = {table.kind: table for table in (FUNDING, SETTLEMENTS)}
"""The tables other than those of candles, by kind."""


def find_candles(database: Database, resolution: str) -> tuple[Table, dict[str, TimeRange]]:
    """Return the table of candles of a resolution, and by instrument the time range of its rows, UTC ms.

    Raises:
        PerpsError: the models are not built yet.
        UsageError: there is no such table.
    """
    base = read_resolution(database)
    with expecting_models(), database.reading() as cursor:
        cursor.execute(BUILT)
        built = {name for (name,) in cursor.fetchall()}
        rollups = {name: step for name, step in ROLLUPS.items() if f"{TABLES['candles']}_{name}" in built}
        known = {base.name: base.step_ms} | rollups
        if resolution not in known:
            raise UsageError(f"expected a resolution of {', '.join(known)}, got {resolution!r}")
        is_rollup, step_ms = resolution != base.name, known[resolution]
        name = f"{TABLES['candles']}_{resolution}" if is_rollup else TABLES["candles"]
        cursor.execute(HISTORIES.format(table=name))
        histories = {instrument: (first, last + step_ms) for instrument, first, last in cursor.fetchall()}
    columns = {"timestamp": MOMENT, "instrument": TEXT} | dict.fromkeys(PRICES, pa.decimal128(18, 8))
    columns["volume"] = pa.decimal128(38 if is_rollup else 18, 8)
    if is_rollup:
        columns |= {"candles": pa.int32(), "complete": pa.bool_()}
    table = Table("candles", f"public.{name}", resolution, step_ms, columns, bounds="quality.ohlcv_coverage")
    return table, histories
