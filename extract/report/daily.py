"""Funding and open interest of an instrument by UTC day, for the chart of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as PgConnection

from extract.core.resolution import DAY_MS
from extract.report import queries
from extract.report.facts import Facts, rows
from extract.report.packing import day_ms, number, runs, sparse

DAILY = {"funding": "Funding by day", "open_interest": "Open interest by day"}
"""Label by part. An instrument has the parts that were loaded."""

DIGITS = 5
"""Significant digits of an embedded value: enough, because it is only drawn."""

Row = Sequence[Any]


@dataclass(frozen=True)
class Daily:
    """Reads the parts in an open transaction.

    Attributes:
        opened: the connection.
        instruments: by part, the instruments that have rows.
        units: unit of the open interest by instrument; absent or None if it is not known.
    """

    opened: PgConnection
    instruments: Mapping[str, set[str]]
    units: Mapping[str, str | None]

    def has(self, instrument: str, part: str) -> bool:
        """Return whether the part of the instrument was loaded."""
        return instrument in self.instruments[part]

    def read(self, instrument: str, part: str) -> dict[str, Any]:
        """Return a part as the page embeds it."""
        if part == "funding":
            return funding(rows(self.opened, queries.FUNDING_DAYS, {"instrument": instrument}))
        found = rows(self.opened, queries.OPEN_INTEREST_DAYS, {"instrument": instrument})
        return open_interest(found, self.units.get(instrument))


def read_daily(opened: PgConnection, facts: Facts) -> Daily:
    """Return a reader of the parts; at first it reads only which parts there are."""
    loaded = {
        part: {row.instrument for row in facts.covered_by(endpoint)}
        for part, endpoint in zip(DAILY, ("funding", "settlements"), strict=True)
    }
    units = dict(rows(opened, queries.OPEN_INTEREST_UNITS)) if loaded["open_interest"] else {}
    return Daily(opened, loaded, units)


def funding(days: Sequence[Row]) -> dict[str, Any]:
    """Return the funding of each day.

    Args:
        days: ascending rows of day, sum of its hourly rates in percent, number of its hours.

    Returns:
        `runs` of days in epoch ms; `percent`, the sum of each day; and `hours`, by the index of the day, for
        the days that do not have 24.
    """
    return {
        "runs": runs([day_ms(row[0]) for row in days], DAY_MS),
        "percent": [number(row[1], DIGITS) for row in days],
        "hours": sparse((row[2] for row in days), 24),
    }


def open_interest(days: Sequence[Row], unit: str | None) -> dict[str, Any]:
    """Return the open interest of each settlement day, at 08:00 UTC.

    Args:
        days: ascending rows of day and open interest.
        unit: of the open interest; None if it is not known.
    """
    return {
        "runs": runs([day_ms(row[0]) for row in days], DAY_MS),
        "value": [number(row[1], DIGITS) for row in days],
        "unit": unit or "",
    }
