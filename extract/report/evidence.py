"""The three evidence files, read from the quality models: gaps, violations, row counts."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from psycopg2.extensions import connection as PgConnection

from extract.errors import PerpsError
from extract.server.connection import Connection
from extract.transform import expecting_models

GAPS = """
select instrument, gap_start, gap_end, gap_minutes
from quality.ohlcv_gaps
order by gap_minutes desc, instrument, gap_start
"""

VIOLATIONS = """
select instrument, "timestamp", open, high, low, close, volume, rule
from quality.ohlcv_violations
order by instrument, "timestamp", rule
"""

COVERAGE = """
select
    instrument, candles, first_candle, last_candle, expected, coverage_percent,
    coalesce(hypertable_size('public.perpetuals_ohlcv'), 0)
        * candles / nullif(sum(candles) over (), 0) as bytes_share
from quality.ohlcv_coverage
order by instrument
"""

SOURCE = "select source, count(*) from deribit_raw.fetches group by source order by 2 desc"


@dataclass(frozen=True)
class Evidence:
    """What the report wrote and found.

    Attributes:
        files: paths of the files.
        gaps, violations, candles: how many there are.
    """

    files: list[Path]
    gaps: int
    violations: int
    candles: int


def write_report(database: Connection, folder: Path) -> Evidence:
    """Write gap-report.csv, sanity-report.csv and row-counts.txt; all times are UTC.

    Args:
        database: with the models built.
        folder: made if it is missing; files of the same names are replaced.

    Raises:
        PerpsError: the models are not built yet, or the folder cannot be written.
    """
    opened = database.connect(autocommit=False)
    try:
        # one snapshot: the three files speak of the same moment
        opened.set_session(isolation_level="REPEATABLE READ", readonly=True)
        folder.mkdir(parents=True, exist_ok=True)
        with expecting_models():
            gaps = _write_csv(opened, GAPS, folder / "gap-report.csv")
            violations = _write_csv(opened, VIOLATIONS, folder / "sanity-report.csv")
            counted = _rows(opened, COVERAGE)[1]
            sources = [source for source, _ in _rows(opened, SOURCE)[1]]
        text = "\n".join(_row_counts(counted, sources, database)) + "\n"
        (folder / "row-counts.txt").write_text(text, encoding="utf-8")
    except OSError as error:
        raise PerpsError(
            f"expected to write the report to {folder}, got {error.strerror}; choose --out"
        ) from None
    finally:
        opened.close()
    files = [folder / name for name in ("gap-report.csv", "sanity-report.csv", "row-counts.txt")]
    return Evidence(files, gaps, violations, sum(row[1] for row in counted))


def _write_csv(opened: PgConnection, query: str, path: Path) -> int:
    names, rows = _rows(opened, query)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(value) for value in row] for row in rows)
    return len(rows)


def _rows(opened: PgConnection, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with opened.cursor() as cursor:
        cursor.execute(query)
        return [column.name for column in cursor.description], cursor.fetchall()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):
        return format(value, "f")
    return value


def _row_counts(
    rows: Sequence[tuple[Any, ...]], sources: Sequence[str], database: Connection
) -> Iterator[str]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    yield f"perpetuals_ohlcv in database {database.dbname}, {now}"
    yield f"source: {', '.join(sources) or 'none'}" + (
        " - SYNTHETIC CANDLES, NOT MARKET DATA" if "simulator" in sources else ""
    )
    yield ""
    yield (
        f"{'instrument':<24} {'rows':>12} {'first (utc)':<20} {'last (utc)':<20} "
        f"{'expected':>12} {'coverage %':>10} {'size MB*':>9}"
    )
    for name, candles, first, last, expected, percent, size in rows:
        yield (
            f"{name:<24} {candles:>12,} {_cell(first):<20} {_cell(last):<20} "
            f"{expected:>12,} {percent:>10.4f} {float(size or 0) / 1e6:>9.1f}"
        )
    total, expected = (sum(row[at] for row in rows) for at in (1, 4))
    size = sum(float(row[6] or 0) for row in rows)
    yield f"{'total':<24} {total:>12,} {'':<41} {expected:>12,} {'':>10} {size / 1e6:>9.1f}"
    yield ""
    yield "* the hypertable with its indexes, shared out by rows (1 MB = 1,000,000 bytes)"
