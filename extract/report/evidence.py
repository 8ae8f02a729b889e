"""Writes the report: CSV files, row counts and the page, all from one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from psycopg2.extensions import connection as PgConnection

from extract.core.messages import spelled_out
from extract.database.database import Database
from extract.errors import PerpsError
from extract.report.counts import count_lines
from extract.report.facts import Facts, read_facts
from extract.report.findings import KINDS, Found, write_findings
from extract.report.page import render_page
from extract.report.series import read_series
from extract.transform.runner import expecting_models


@dataclass(frozen=True)
class Evidence:
    """What the report found and wrote.

    Attributes:
        files: paths of the written files.
        candles: rows of perpetuals_ohlcv.
        counts: number of findings of each kind: gaps, violations, rejected, inexact (days), jumps,
            revisions, reconciliation (buckets that are not identical), fill_runs, funding_gaps and
            settlement_gaps.
    """

    files: list[Path]
    candles: int
    counts: Mapping[str, int]


def write_report(database: Database, folder: Path) -> Evidence:
    """Write the CSV files of `findings.KINDS`, row-counts.txt and report.html; all times are UTC.

    Args:
        database: the database, with the models built.
        folder: created if it is missing; files of the same names are replaced.

    Raises:
        PerpsError: the models are not built yet, or the folder cannot be written.
    """
    opened = database.connect(autocommit=False)
    try:
        # one snapshot, so that all files describe the same moment
        opened.set_session(isolation_level="REPEATABLE READ", readonly=True)
        folder.mkdir(parents=True, exist_ok=True)
        with expecting_models():
            facts, found = _write(opened, folder)
    except OSError as error:
        raise PerpsError(
            f"could not write the report to {folder}: {error.strerror}; choose another folder with --out"
        ) from None
    finally:
        opened.close()
    names = dict.fromkeys([*(kind.file for kind in KINDS), "row-counts.txt", "report.html"])
    counts = {name: kind.count for name, kind in found.items()}
    return Evidence([folder / name for name in names], facts.candles, counts)


def _write(opened: PgConnection, folder: Path) -> tuple[Facts, dict[str, Found]]:
    facts = read_facts(opened, datetime.now(UTC))
    found = write_findings(opened, folder)
    text = "".join(f"{spelled_out(line, keep='')}\n" for line in count_lines(facts, found))
    (folder / "row-counts.txt").write_text(text, encoding="utf-8", newline="\n")
    page = render_page(facts, found, read_series(opened, facts))
    (folder / "report.html").write_text(page, encoding="utf-8", newline="\n")
    return facts, found
