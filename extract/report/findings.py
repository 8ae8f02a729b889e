"""Writes the findings to CSV files, and returns the first findings of each kind for the page."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as PgConnection

from extract.report import queries

SHOWN = 200
"""Rows of each kind on the page; the CSV file has all of them."""

AT_ONCE = 10_000

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""First characters, wide forms included, for which a spreadsheet computes a text instead of showing it."""


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        name: name of the kind, such as `gaps`.
        label: the name that people read.
        file: the CSV file that lists the kind; two kinds may share one.
        query: the query that reads the findings.
        columns: how many of the query's columns the file has, from the left.
    """

    name: str
    label: str
    file: str
    query: str
    columns: int


@dataclass(frozen=True)
class Found:
    """The findings of a kind.

    Attributes:
        kind: the kind.
        count: number of findings, all of which are in the CSV file.
        first: the first SHOWN findings, with every column of the query by name.
    """

    kind: Kind
    count: int
    first: list[dict[str, Any]]


KINDS = (
    Kind("gaps", "gaps", "gap-report.csv", queries.GAPS, 6),
    Kind("violations", "violations", "sanity-report.csv", queries.VIOLATIONS, 8),
    Kind("rejected", "rejected candles", "sanity-report.csv", queries.REJECTED, 8),
    Kind("inexact", "days with rounded values", "inexact-report.csv", queries.INEXACT, 7),
    Kind("jumps", "jumps", "jump-report.csv", queries.JUMPS, 10),
    Kind("revisions", "revisions", "revision-report.csv", queries.REVISIONS, 15),
    Kind(
        "reconciliation",
        "differences from deribit's own candles",
        "reconciliation-report.csv",
        queries.RECONCILIATION,
        17,
    ),
    Kind("fill_runs", "long runs of fills", "fill-report.csv", queries.FILL_RUNS, 4),
    Kind("funding_gaps", "funding gaps", "funding-gap-report.csv", queries.FUNDING_GAPS, 6),
    Kind("settlement_gaps", "settlement gaps", "settlement-gap-report.csv", queries.SETTLEMENT_GAPS, 6),
)


def write_findings(opened: PgConnection, folder: Path) -> dict[str, Found]:
    """Write the CSV files of all kinds into `folder` and return the findings by the kind's name."""
    found: dict[str, Found] = {}
    for file in dict.fromkeys(kind.file for kind in KINDS):
        kinds = [kind for kind in KINDS if kind.file == file]
        with (folder / file).open("w", newline="", encoding="utf-8") as target:
            writer = csv.writer(target, lineterminator="\n")
            for number, kind in enumerate(kinds):
                found[kind.name] = _write(opened, kind, writer, header=number == 0)
    return found


def _write(opened: PgConnection, kind: Kind, writer: Any, *, header: bool) -> Found:
    # a server-side cursor, so that a table full of violations does not fill the memory
    with opened.cursor(f"report_{kind.name}") as cursor:
        cursor.itersize = AT_ONCE
        cursor.execute(kind.query)
        rows: Iterator[Sequence[Any]] = iter(cursor)
        leading = next(rows, None)
        names = [column.name for column in cursor.description or ()]
        if header:
            writer.writerow(names[: kind.columns])
        count, first = 0, []
        for row in chain([leading] if leading else [], rows):
            writer.writerow([cell(value) for value in row[: kind.columns]])
            if count < SHOWN:
                first.append(dict(zip(names, row, strict=True)))
            count += 1
    return Found(kind, count, first)


def cell(value: Any) -> Any:
    """Return a value as the CSV files spell it: times as 2024-01-01T00:00:00Z, numbers without exponents.

    A text that a spreadsheet would read as a formula gets an apostrophe in front, which makes it a text.
    """
    if isinstance(value, datetime):
        # only a candle off the grid has a fraction of a second; without it, it would look like another candle
        exact = "milliseconds" if value.microsecond else "seconds"
        return value.astimezone(UTC).isoformat(timespec=exact).replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
