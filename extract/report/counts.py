"""row-counts.txt: the figures as aligned text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from extract.report.facts import BESIDE_CANDLES, Covered, CoveredRows, Facts, Reconciled
from extract.report.findings import Found, cell


def count_lines(facts: Facts, found: Mapping[str, Found]) -> Iterator[str]:
    """Yield the lines of row-counts.txt; all times are UTC."""
    yield f"perpetuals_ohlcv in database {facts.dbname}, {cell(facts.made_at)}"
    origins = ", ".join(facts.origins) or "none"
    yield f"origin: {origins}" + (f" - {facts.warning}" if facts.warning else "")
    loaded = f"{facts.last_load} at {cell(facts.loaded_at)}" if facts.loaded_at else "none"
    yield f"last load: {loaded}"
    yield f"deribit's clock: {cell(facts.checked_at) if facts.checked_at else 'not read yet'}"
    yield ""
    yield (
        f"{'instrument':<24} {'rows':>12} {'first (utc)':<20} {'last (utc)':<20} "
        f"{'expected':>12} {'coverage %':>10} {'size MB*':>9} {'tail min**':>10}"
    )
    yield from map(_covered, facts.coverage)
    size = sum(float(row.size or 0) for row in facts.coverage) / 1e6
    yield f"{'total':<24} {facts.candles:>12,} {'':<41} {facts.expected:>12,} {'':>10} {size:>9.1f}"
    yield from _rows(facts)
    yield ""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in facts.gap_reasons.items())
    yield f"{'gaps':<24} {found['gaps'].count:>12,} {reasons}".rstrip()
    for name in ("violations", "rejected", "inexact", "jumps", "revisions", "fill_runs"):
        yield f"{found[name].kind.label:<24} {found[name].count:>12,}"
    for endpoint, (_, gaps) in BESIDE_CANDLES.items():
        if facts.covered_by(endpoint):
            yield f"{found[gaps].kind.label:<24} {found[gaps].count:>12,}"
    if not facts.reconciled:
        yield f"{'reconciliation':<24} {'never reconciled':>12}; see: perps reconcile"
    for row in facts.reconciled:
        yield f"{f'reconciled at {row.resolution}':<24} {row.compared:>12,} {reconciled_text(row)}"
    yield ""
    yield "* share of the hypertable and its indexes, by rows (1 MB = 1,000,000 bytes)"
    yield "** closed minutes after the last candle, by deribit's clock"


def reconciled_text(row: Reconciled) -> str:
    """Return the buckets of a resolution by status, as one line."""
    return ", ".join(f"{status.replace('_', ' ')} {count:,}" for status, count in sorted(row.counts.items()))


def _rows(facts: Facts) -> Iterator[str]:
    """Yield a table of the coverage of funding and settlements, for each of them that was loaded."""
    for endpoint, (unit, _) in BESIDE_CANDLES.items():
        if covered := facts.covered_by(endpoint):
            yield ""
            yield (
                f"{endpoint:<24} {unit:>12} {'first (utc)':<20} {'last (utc)':<20} "
                f"{'expected':>12} {'coverage %':>10}"
            )
            yield from map(_covered_rows, covered)


def _covered_rows(row: CoveredRows) -> str:
    return (
        f"{row.instrument:<24} {row.rows:>12,} {cell(row.first):<20} {cell(row.last):<20} "
        f"{row.expected:>12,} {row.percent:>10.4f}"
    )


def _covered(row: Covered) -> str:
    tail = "?" if row.tail_minutes is None else f"{row.tail_minutes:,}"
    return (
        f"{row.instrument:<24} {row.candles:>12,} {cell(row.first):<20} {cell(row.last):<20} "
        f"{row.expected:>12,} {row.percent:>10.4f} {float(row.size or 0) / 1e6:>9.1f} {tail:>10}"
    )
