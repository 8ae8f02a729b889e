"""Reads the facts about the whole database: coverage, freshness, origin, reconciliation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2.extensions import connection as PgConnection

from extract.core.resolution import MINUTE_MS, RESOLUTIONS
from extract.report import queries
from extract.transform.models import RESOLUTION

NOT_THE_MARKET = {
    "simulator": "SYNTHETIC CANDLES, NOT MARKET DATA",
    "testnet": "TESTNET CANDLES, NOT MARKET DATA",
}
REASONS = ("unfetched", "rejected", "source", "known")
"""Why candles are missing; reasons that need action come first."""


class Beside(NamedTuple):
    """For an endpoint, what one row covers, in the plural, and the name of its kind of gaps."""

    unit: str
    gaps: str


BESIDE_CANDLES = {
    "funding": Beside("hours", "funding_gaps"),
    "settlements": Beside("days", "settlement_gaps"),
}
"""The endpoints other than candles."""


@dataclass(frozen=True)
class Covered:
    """One instrument's row of quality.ohlcv_coverage.

    Attributes:
        instrument: Deribit's name.
        candles, expected: number of candles, and of buckets from the first candle to the last.
        first, last: opens of the first and the last candle, UTC.
        percent: candles as a percentage of expected, cut to four decimals.
        tail_minutes: closed minutes after the last candle, by Deribit's clock; None if it was never read.
        checked_at: Deribit's clock, UTC.
        size: the instrument's share of the hypertable and its indexes, by rows, in bytes.
    """

    instrument: str
    candles: int
    first: datetime
    last: datetime
    expected: int
    percent: Any
    tail_minutes: int | None
    checked_at: datetime | None
    size: Any


@dataclass(frozen=True)
class CoveredRows:
    """One instrument's row of quality.funding_coverage or quality.settlement_coverage.

    Attributes:
        endpoint: `funding` (a row an hour) or `settlements` (a row a day).
        instrument: Deribit's name.
        rows, expected, missing: number of hours or days with a row, of those that should have one, and of
            those that should but have none.
        first, last: times of the first and the last row, UTC.
        percent: rows as a percentage of expected, cut to four decimals.
        lacking: missing hours or days that were not fetched twice, or whose row cannot be used.
        source: missing hours or days for which Deribit has no row.
    """

    endpoint: str
    instrument: str
    rows: int
    first: datetime
    last: datetime
    expected: int
    missing: int
    percent: Any
    lacking: int
    source: int


@dataclass(frozen=True)
class Reconciled:
    """Buckets of one resolution that were compared with Deribit's own candles.

    Attributes:
        resolution: as the API spells it.
        counts: buckets by status.
        whole_different: different buckets in which no minute is missing.
        first, last: opens of the first and the last bucket compared, UTC.
    """

    resolution: str
    counts: dict[str, int]
    whole_different: int
    first: datetime
    last: datetime

    @property
    def compared(self) -> int:
        """Number of buckets."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Facts:
    """The database at the moment of the report.

    Attributes:
        dbname: its name.
        made_at: when the report was made, by this machine's clock, UTC.
        bucket_minutes: length of a base candle in minutes.
        origins: live, testnet or simulator; the one with most requests first.
        last_load, loaded_at: id and end of the last complete load, UTC; None before the first.
        coverage: one entry for each instrument, by name.
        covered_rows: the same for funding and settlements, if they were loaded.
        reconciled: one entry for each resolution that was ever compared.
        gap_reasons: number of gaps by reason, in the order of REASONS.
        known_gaps: by instrument, the times inside its known gaps, as the text of a tstzmultirange.
    """

    dbname: str
    made_at: datetime
    bucket_minutes: int
    origins: list[str]
    last_load: str | None
    loaded_at: datetime | None
    coverage: list[Covered]
    covered_rows: list[CoveredRows]
    reconciled: list[Reconciled]
    gap_reasons: dict[str, int]
    known_gaps: dict[str, str]

    @property
    def candles(self) -> int:
        """All rows of perpetuals_ohlcv."""
        return sum(row.candles for row in self.coverage)

    @property
    def expected(self) -> int:
        """All buckets from each instrument's first candle to its last."""
        return sum(row.expected for row in self.coverage)

    def covered_by(self, endpoint: str) -> list[CoveredRows]:
        """Return the entries of `funding` or `settlements`."""
        return [row for row in self.covered_rows if row.endpoint == endpoint]

    @property
    def checked_at(self) -> datetime | None:
        """The time by Deribit's clock, as estimated from the newest load, UTC."""
        return max((row.checked_at for row in self.coverage if row.checked_at), default=None)

    @property
    def longest_tail(self) -> int | None:
        """Closed minutes after the last candle of the instrument that is furthest behind."""
        return max((row.tail_minutes for row in self.coverage if row.tail_minutes is not None), default=None)

    @property
    def warning(self) -> str | None:
        """The warning about candles that are not market data, None if there are none."""
        warnings = [NOT_THE_MARKET[origin] for origin in self.origins if origin in NOT_THE_MARKET]
        return "; ".join(warnings) or None


def read_facts(opened: PgConnection, made_at: datetime) -> Facts:
    """Return the facts, read in the open transaction."""
    coverage = [_covered(*row) for row in rows(opened, queries.COVERAGE)]
    resolution = rows(opened, RESOLUTION)[0][0] or "1"
    gaps = rows(opened, queries.GAP_REASONS)
    last_load, loaded_at = next(iter(rows(opened, queries.LAST_LOAD)), (None, None))
    return Facts(
        dbname=rows(opened, queries.DATABASE)[0][0],
        made_at=made_at.replace(microsecond=0),
        bucket_minutes=RESOLUTIONS[resolution].step_ms // MINUTE_MS,
        origins=[origin for (origin,) in rows(opened, queries.ORIGINS)],
        last_load=last_load,
        loaded_at=loaded_at and loaded_at.replace(microsecond=0),
        coverage=coverage,
        covered_rows=[CoveredRows(*row) for row in rows(opened, queries.COVERED_ROWS)],
        reconciled=_reconciled(rows(opened, queries.RECONCILED)),
        gap_reasons={
            name: total
            for name in REASONS
            if (total := sum(count for _, reason, count, _ in gaps if reason == name))
        },
        known_gaps={instrument: inside for instrument, reason, _, inside in gaps if reason == "known"},
    )


def rows(opened: PgConnection, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with opened.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def _covered(*row: Any) -> Covered:
    covered = Covered(*row)
    return replace(covered, checked_at=covered.checked_at and covered.checked_at.replace(microsecond=0))


def _reconciled(counted: list[tuple[Any, ...]]) -> list[Reconciled]:
    found = []
    for resolution in dict.fromkeys(row[0] for row in counted):
        own = [row for row in counted if row[0] == resolution]
        found.append(
            Reconciled(
                resolution,
                {status: count for _, status, count, *_ in own},
                sum(whole for _, status, _, whole, *_ in own if status == "different"),
                min(row[4] for row in own),
                max(row[5] for row in own),
            )
        )
    return found
