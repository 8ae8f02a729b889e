"""The lists of the page: the findings of each kind as rows of text, and what the kind means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from extract.report.findings import Found

PRICES = ("open", "high", "low", "close", "volume")
OPEN_ROWS = 20
"""Rows shown before the reader unfolds the list; a phone shows each row as several lines."""

Finding = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a list.

    Attributes:
        label: heading of the column.
        text: returns the cell of a finding.
        numeric: whether to align to the right.
    """

    label: str
    text: Callable[[Finding], str]
    numeric: bool = False


@dataclass(frozen=True)
class Listing:
    """A kind of finding as the page shows it.

    Attributes:
        name: name of the kind, and the anchor.
        title, about, none: the heading, what the kind means, and the text if there are no findings.
        columns: the columns, from left to right.
    """

    name: str
    title: str
    about: str
    none: str
    columns: tuple[Column, ...]

    def rows(self, found: Found) -> list[list[str]]:
        """Return the cells of the findings that the page shows."""
        return [[column.text(finding) for column in self.columns] for finding in found.first]


def time_text(value: datetime | None) -> str:
    """Return a UTC time to the minute, with seconds and milliseconds only if they are not 0."""
    if value is None:
        return ""
    at = value.astimezone(UTC)
    if at.microsecond:
        return at.isoformat(" ", "milliseconds").removesuffix("+00:00")
    return at.strftime("%Y-%m-%d %H:%M:%S" if at.second else "%Y-%m-%d %H:%M")


def number_text(value: Decimal | int | None) -> str:
    """Return a number without exponent and trailing zeros."""
    if value is None:
        return "null"
    if not isinstance(value, Decimal):
        return f"{value:,}"
    if not value.is_finite():
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def changes_text(finding: Finding) -> str:
    """Return what a revision changed, as `close 100 → 101`."""
    changed = [
        f"{name} {number_text(finding[f'old_{name}'])} → {number_text(finding[f'new_{name}'])}"
        for name in PRICES
        if finding[f"old_{name}"] != finding[f"new_{name}"]
    ]
    return ", ".join(changed)


def difference_text(finding: Finding) -> str:
    """Return the columns of a bucket that differ, as `high 110 (Deribit 111)`."""
    named = [name for name in (finding["differing_columns"] or "").split(",") if name]
    return ", ".join(
        f"{name} {number_text(finding[name])} (Deribit {number_text(finding[f'exchange_{name}'])})"
        for name in named
    )


def _plain(name: str, label: str | None = None) -> Column:
    return Column(label or name, lambda finding: str(finding[name] or ""))


def _time(name: str, label: str) -> Column:
    return Column(f"{label} (UTC)", lambda finding: time_text(finding[name]))


def _number(name: str, label: str | None = None) -> Column:
    return Column(label or name, lambda finding: number_text(finding[name]), numeric=True)


_OHLCV = tuple(_number(name) for name in PRICES)


def _gap_columns(missing: str, label: str) -> tuple[Column, ...]:
    return (
        _plain("instrument"),
        _plain("reason"),
        _time("gap_start", "last before"),
        _time("gap_end", "first after"),
        _number(missing, label),
        _plain("note"),
        _time("last_fetched_at", "last fetched"),
    )


LISTINGS = (
    Listing(
        "gaps",
        "Gaps",
        "Missing candles between an instrument's first and last candle. unfetched: not yet fetched twice; "
        "run perps repair. rejected: Deribit sent a candle that cannot be used. source: fetched twice, with "
        "different windows, and Deribit had no candle. known: explained in the seed known_gaps.",
        "No candle is missing between the first and the last one.",
        _gap_columns("gap_minutes", "minutes"),
    ),
    Listing(
        "funding_gaps",
        "Funding gaps",
        "Missing hours between the first and the last funding of an instrument, with the same reasons.",
        "No hour of funding is missing between the first and the last one.",
        _gap_columns("missing", "hours"),
    ),
    Listing(
        "settlement_gaps",
        "Settlement gaps",
        "Missing days between the first and the last settlement of an instrument, with the same reasons.",
        "No daily settlement is missing between the first and the last one.",
        _gap_columns("missing", "days"),
    ),
    Listing(
        "violations",
        "Violations",
        "Candles in the table, as Deribit sent them, that break a rule; one row for each rule broken.",
        "No candle breaks a rule.",
        (_plain("instrument"), _time("timestamp", "candle"), _plain("rule"), *_OHLCV),
    ),
    Listing(
        "rejected",
        "Rejected candles",
        "Candles that the table cannot hold: a value is missing, not a number or too large, or the time is "
        "not a bucket open.",
        "No candle was rejected.",
        (
            _plain("instrument"),
            _time("timestamp", "candle"),
            _plain("rule", "reason"),
            *_OHLCV,
            _time("loaded_at", "loaded"),
        ),
    ),
    Listing(
        "inexact",
        "Rounded values",
        "Days on which Deribit sent values with more digits than numeric(18,8) can hold, and the value that "
        "rounding changed most. Volumes of 2020 and before have nine decimals.",
        "The table holds every value exactly as Deribit sent it.",
        (
            _plain("instrument"),
            _plain("day"),
            _number("inexact", "values"),
            _time("timestamp", "largest loss"),
            _plain("column_name", "column"),
            _number("sent_value", "Deribit sent"),
            _number("table_value", "table holds"),
        ),
    ),
    Listing(
        "jumps",
        "Jumps",
        "Candles that moved much more, from the previous close or between low and high, than is usual "
        "for the instrument around that time. Either a price is wrong, or the market really moved.",
        "No candle moved much more than its neighbours.",
        (
            _plain("instrument"),
            _time("timestamp", "candle"),
            _number("move_percent", "move %"),
            _number("typical_percent", "typical %"),
            _number("previous_close", "previous close"),
            *_OHLCV,
        ),
    ),
    Listing(
        "revisions",
        "Revisions",
        "Closed candles whose values changed between two loads. The table holds the newer ones.",
        "No closed candle changed between loads.",
        (
            _plain("instrument"),
            _time("timestamp", "candle"),
            Column("changed", changes_text),
            _time("revised_at", "revised"),
        ),
    ),
    Listing(
        "reconciliation",
        "Differences from Deribit's longer candles",
        "Candles of the table, added up to hours or days, that differ from Deribit's own longer candles.",
        "",
        (
            _plain("instrument"),
            _plain("resolution"),
            _time("timestamp", "bucket"),
            Column("status", lambda finding: finding["status"].replace("_", " ")),
            Column("differs", difference_text),
            Column(
                "candles",
                lambda finding: f"{finding['minutes']:,} of {finding['expected_minutes']:,}",
                numeric=True,
            ),
        ),
    ),
    Listing(
        "fill_runs",
        "Long runs of fills",
        "For a minute without trades, Deribit sends a candle with the last price and volume 0. A long run "
        "of them may be an outage of the exchange; it is not a gap.",
        "No long run of minutes without trades.",
        (
            _plain("instrument"),
            _time("run_start", "first fill"),
            _time("run_end", "last fill"),
            _number("minutes"),
        ),
    ),
)


def shown_listings(
    found: Mapping[str, Found], reconciled: bool, absent: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return the data of each listing for the template.

    Args:
        found: findings by the kind's name.
        reconciled: whether any bucket was ever compared; otherwise "no difference" would be misleading.
        absent: kinds to leave out, because their endpoint was never loaded.
    """
    shown = []
    for listing in LISTINGS:
        if listing.name in absent:
            continue
        kind = found[listing.name]
        none = listing.none
        if listing.name == "reconciliation":
            none = (
                "Every bucket compared is identical."
                if reconciled
                else "Never reconciled; run: perps reconcile"
            )
        cells = listing.rows(kind)
        shown.append(
            {
                "listing": listing,
                "none": none,
                "count": kind.count,
                "open": cells[:OPEN_ROWS],
                "folded": cells[OPEN_ROWS:],
                "more": kind.count - len(cells),
                "file": kind.kind.file,
            }
        )
    return shown
