"""The rows to read of a table, cut by instrument and month into time ranges with literal bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg2.extensions import QuotedString

from extract.core.ranges import TimeRange
from extract.core.resolution import MINUTE_MS, parse_resolution
from extract.database.database import Database
from extract.errors import UsageError
from extract.export.tables import OTHERS, Table, find_candles
from extract.transform.models import pick, read_histories


@dataclass(frozen=True)
class Part:
    """The rows of an instrument with a time in [start, end), UTC ms."""

    instrument: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Selection:
    """The rows of a table between two times, of some instruments.

    Attributes:
        table: the table.
        start_ms: inclusive, UTC ms.
        end_ms: exclusive, UTC ms.
        histories: by instrument, the time range from its first bucket to the end of its last, UTC ms.
    """

    table: Table
    start_ms: int
    end_ms: int
    histories: Mapping[str, TimeRange]

    def parts(self, months: int = 0) -> Iterator[Part]:
        """Yield the parts to read, sorted by instrument and time.

        Args:
            months: most months in a part; 0: as many as have about the rows of one month of minutes.
        """
        for name in sorted(self.histories):
            first, last = self.histories[name]
            wanted = max(self.start_ms, first), min(self.end_ms, last)
            for start, end in _by_months(*wanted, months or self.table.step_ms // MINUTE_MS):
                yield Part(name, start, end)

    def query(self, part: Part, columns: Sequence[str]) -> str:
        """Return the query of a part, sorted by time. Its literal bounds limit the chunks that it opens.

        Args:
            part: the part.
            columns: SQL expressions to select.
        """
        table, start, end = self.table, _utc(part.start_ms), _utc(part.end_ms)
        conditions = [
            f"instrument = {_literal(part.instrument)}",
            f"\"{table.time}\" >= '{start}' and \"{table.time}\" < '{end}'",
        ]
        if table.day:  # a settlement before 08:00 UTC belongs to the day before
            conditions.append(f"{table.day} between date '{start[:10]}' - 1 and date '{end[:10]}'")
        return (
            f"select {', '.join(columns)} from {table.name}"  # noqa: S608  # literals
            f' where {" and ".join(conditions)} order by "{table.time}"'
        )


def select(
    database: Database,
    instruments: Sequence[str],
    time_range: TimeRange,
    kind: str = "candles",
    resolution: str = "1",
) -> Selection:
    """Return the rows to read.

    Args:
        database: the database to read.
        instruments: names, or `all`.
        time_range: [start, end), UTC ms.
        kind: one of `ENDPOINTS`.
        resolution: of candles: that of perpetuals_ohlcv, or one of `ROLLUPS`. Without effect on other kinds.

    Raises:
        PerpsError: the models are not built yet.
        UsageError: the table has no such instrument, or there is none of this resolution.
    """
    if not instruments:
        raise UsageError("expected names of instruments, or all, got none")
    if kind == "candles":
        table, histories = find_candles(database, resolution)
    else:
        table = OTHERS[kind]
        histories = read_histories(database, parse_resolution(table.resolution), kind)
    return Selection(table, *time_range, pick(histories, instruments, kind))


def month_of(at_ms: int) -> str:
    """Return the UTC month of a time as `2024-01`."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m}"


def _by_months(start_ms: int, end_ms: int, months: int) -> Iterator[TimeRange]:
    """Cut [start, end), UTC ms, into ranges of at most so many months, which end with a month."""
    while start_ms < end_ms:
        opens = datetime.fromtimestamp(start_ms / 1000, UTC)
        after = opens.year * 12 + opens.month - 1 + months
        until = datetime(after // 12, after % 12 + 1, 1, tzinfo=UTC)
        until_ms = min(end_ms, int(until.timestamp()) * 1000)
        yield start_ms, until_ms
        start_ms = until_ms


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _literal(text: str) -> str:
    quoted = QuotedString(text)
    quoted.encoding = "utf-8"
    return quoted.getquoted().decode()
