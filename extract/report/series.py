"""The series that the page embeds: for each instrument a calendar of days, and candles for the chart.

A calendar stores only what is unusual about each day, candles are one array per column, and times are runs of
equal steps; daily.py adds funding and open interest. The page has a budget of bytes: first it takes all
calendars, then everything of the most traded instruments, then as much of the others as fits. The page names
what was omitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from psycopg2.extensions import connection as PgConnection

from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS
from extract.report import queries
from extract.report.daily import DAILY, read_daily
from extract.report.facts import Covered, Facts, rows
from extract.report.packing import compact, day_ms, number, runs, sparse

BUDGET = 2_600_000
"""Bytes of series in a page, which with plotly.js (4.8 MB) and the tables stays below 8 MB."""

LEADING = 2
"""Number of instruments whose hours and minutes have priority over the other instruments' days."""

SPANS = {"hours": timedelta(days=30), "minutes": timedelta(days=7)}
"""How far before an instrument's last candle a range begins; `days` covers all of its history."""

COLUMNS = ("open", "high", "low", "close", "volume")

Row = Sequence[Any]


@dataclass
class Series:
    """The series that the page embeds.

    Attributes:
        instruments: most traded first, each with `name`, `calendar`, the candles of each range and, if they
            were loaded, the parts of DAILY; parts that did not fit are absent.
        ranges: labels by range, in the order of the buttons.
        room: remaining bytes of the budget.
        left_out: by `calendar`, range or part of DAILY, the instruments without it.
    """

    instruments: dict[str, dict[str, Any]]
    ranges: dict[str, str]
    room: int
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, part: str, piece: Any) -> bool:
        """Embed a piece if there is room for it; return whether there was."""
        size = len(compact(piece))
        if size > self.room:
            self.leave_out(name, part)
            return False
        self.room -= size
        self.instruments[name][part] = piece
        return True

    def leave_out(self, name: str, part: str) -> None:
        """Record that a part of an instrument is not embedded."""
        self.left_out.setdefault(part, []).append(name)


def read_series(opened: PgConnection, facts: Facts) -> Series:
    """Return as many calendars and candles as fit into the budget, read in the open transaction."""
    covered = {row.instrument: row for row in facts.coverage}
    names = by_turnover(list(covered), dict(rows(opened, queries.TURNOVER)))
    ranges = labels(facts.bucket_minutes)
    series = Series({name: {"name": name} for name in names}, ranges, BUDGET)
    whole_day = DAY_MS // MINUTE_MS // facts.bucket_minutes
    bars_of_days = {}
    for name in names:
        read = rows(opened, queries.DAYS, {"instrument": name, "known": facts.known_gaps.get(name, "{}")})
        series.add(name, "calendar", calendar([row[:7] for row in read], whole_day))
        bars_of_days[name] = bars([(day_ms(row[0]), *row[7:]) for row in read if row[7] is not None], DAY_MS)
    daily = read_daily(opened, facts)
    full: set[str] = set()
    days, *finer = ranges
    for name, part in order(names, [days, *DAILY, *finer]):
        if part in DAILY and not daily.has(name, part):
            continue
        if part in full:
            series.leave_out(name, part)
            continue
        if part in DAILY:
            piece = daily.read(name, part)
        elif part == days:
            piece = bars_of_days.pop(name)
        else:
            piece = read_bars(opened, covered[name], part, facts.bucket_minutes)
        if not series.add(name, part, piece):
            # the pieces of later instruments are about as long, so do not read them
            full.add(part)
    return series


def read_bars(opened: PgConnection, covered: Covered, part: str, bucket_minutes: int) -> dict[str, Any]:
    """Return the candles of `hours` or `minutes` before an instrument's last candle."""
    end = covered.last + timedelta(minutes=bucket_minutes)
    start = (end - SPANS[part]).replace(minute=0, second=0, microsecond=0)
    hourly = part == "hours"
    # base candles of an hour or longer are not aggregated
    width = "1 hour" if hourly and bucket_minutes < 60 else "1 minute"
    step = max(HOUR_MS, bucket_minutes * MINUTE_MS) if hourly else bucket_minutes * MINUTE_MS
    values = {"instrument": covered.instrument, "start": start, "end": end, "width": width}
    return bars(rows(opened, queries.BARS, values), step)


def by_turnover(names: Iterable[str], turnover: Mapping[str, Any]) -> list[str]:
    """Return the names by turnover in quote coin, the most traded first; ties by name."""
    return sorted(names, key=lambda name: (-float(turnover.get(name) or 0), name))


def labels(bucket_minutes: int) -> dict[str, str]:
    """Return the labels of the chart's buttons; only ranges that show more detail than the one before."""
    found = {"days": "All (days)"}
    if bucket_minutes < 24 * 60:
        unit = "hours" if bucket_minutes <= 60 else f"{bucket_minutes // 60} hours"
        found["hours"] = f"Last 30 days ({unit})"
    if bucket_minutes < 60:
        unit = "minutes" if bucket_minutes == 1 else f"{bucket_minutes} minutes"
        found["minutes"] = f"Last 7 days ({unit})"
    return found


def order(names: Sequence[str], parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield instruments and ranges by priority: first the leading instruments, then the others by range."""
    for name in names[:LEADING]:
        yield from ((name, part) for part in parts)
    for part in parts:
        yield from ((name, part) for name in names[LEADING:])


def calendar(days: Sequence[Row], usual: int) -> dict[str, Any]:
    """Return what is unusual about the days of an instrument.

    Args:
        days: ascending rows of day, candles, expected, largest gap in minutes, fills, violations, known.
        usual: number of candles of a complete day.

    Returns:
        `runs` of days in epoch ms; `usual`; `fills` of every day; `expected`, `missing`, `gap` and
        `violations` by the index of the day, if they are not the usual number or 0; and the indexes of
        `known` days.
    """
    return {
        "runs": runs([day_ms(row[0]) for row in days], DAY_MS),
        "usual": usual,
        "expected": sparse((row[2] for row in days), usual),
        "missing": sparse((row[2] - row[1] for row in days), 0),
        "gap": sparse((row[3] or 0 for row in days), 0),
        "fills": [row[4] for row in days],
        "violations": sparse((row[5] for row in days), 0),
        "known": [number for number, row in enumerate(days) if row[6]],
    }


def bars(found: Sequence[Row], step_ms: int) -> dict[str, Any]:
    """Return candles as columns: `runs` of opens in epoch ms, `step` in ms and an array for each of COLUMNS.

    Args:
        found: ascending rows of open time in epoch ms, open, high, low, close (quote coin) and volume (base
            coin).
        step_ms: time between neighbours.
    """
    columns: dict[str, Any] = {
        name: [number(row[at]) for row in found] for at, name in enumerate(COLUMNS[:4], start=1)
    }
    # volumes are only drawn: seven digits are more than a screen shows
    columns["volume"] = [number(row[5], digits=7) for row in found]
    return {"runs": runs([row[0] for row in found], step_ms), "step": step_ms, **columns}
