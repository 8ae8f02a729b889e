"""The cards at the top of the page: the figures to look at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from extract.report.counts import reconciled_text
from extract.report.facts import BESIDE_CANDLES, Facts
from extract.report.findings import Found

WORDS = {"good": "ok", "look": "look", "bad": "act", "plain": ""}
"""A word for each state, for readers who cannot tell the colours apart."""


@dataclass(frozen=True)
class Card:
    """One figure with its verdict.

    Attributes:
        label, value, detail: the texts of the card.
        state: good, look (worth a look), bad (needs action) or plain (no verdict).
        anchor: the section with the details.
    """

    label: str
    value: str
    detail: str
    state: str
    anchor: str

    @property
    def word(self) -> str:
        """The word for the state."""
        return WORDS[self.state]


def make_cards(facts: Facts, found: Mapping[str, Found]) -> list[Card]:
    """Return the cards from left to right."""
    violations, rejected = found["violations"].count, found["rejected"].count
    inexact, revisions = found["inexact"].count, found["revisions"].count
    holes = facts.gap_reasons.get("rejected", 0)
    return [
        _candles(facts),
        _coverage(facts),
        _gaps(facts),
        *_rows(facts),
        Card("violations", f"{violations:,}", "broken rules", "bad" if violations else "good", "violations"),
        Card(
            "rejected",
            f"{rejected:,}",
            f"candles, leaving {_some(holes, 'gap')}",
            "bad" if holes else "look" if rejected else "good",
            "rejected",
        ),
        Card(
            "rounded",
            f"{inexact:,}",
            "days of an instrument with rounded values",
            "look" if inexact else "good",
            "inexact",
        ),
        Card(
            "revisions",
            f"{revisions:,}",
            "closed candles that changed",
            "look" if revisions else "good",
            "revisions",
        ),
        _reconciliation(facts),
    ]


def percent_text(candles: int, expected: int) -> str:
    """Return candles as a percentage of expected, cut to four decimals, so that 100 means complete."""
    if not expected:
        return "none"
    exact = Decimal(100) * candles / expected
    return f"{exact.quantize(Decimal('0.0001'), ROUND_DOWN):f}\u00a0%"


def _candles(facts: Facts) -> Card:
    names = _some(len(facts.coverage), "instrument")
    return Card("candles", f"{facts.candles:,}", names, "plain" if facts.candles else "bad", "instruments")


def _coverage(facts: Facts) -> Card:
    missing = facts.expected - facts.candles
    return Card(
        "coverage",
        percent_text(facts.candles, facts.expected),
        f"{missing:,} of {facts.expected:,} missing" if facts.expected else "no candles yet",
        _gap_state(facts) if missing else "good" if facts.expected else "bad",
        "coverage",
    )


def _gaps(facts: Facts) -> Card:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in facts.gap_reasons.items())
    total = sum(facts.gap_reasons.values())
    return Card("gaps", f"{total:,}", reasons or "nothing is missing", _gap_state(facts), "gaps")


def _rows(facts: Facts) -> Iterator[Card]:
    """Yield the coverage of funding and of settlements, if they were loaded."""
    for name, endpoint in BESIDE_CANDLES.items():
        if covered := facts.covered_by(name):
            present, expected = sum(row.rows for row in covered), sum(row.expected for row in covered)
            missing = sum(row.missing for row in covered)
            state = "bad" if any(row.lacking for row in covered) else "look" if missing else "good"
            detail = f"{missing:,} of {expected:,} {endpoint.unit} missing"
            yield Card(name, percent_text(present, expected), detail, state, endpoint.gaps)


def _gap_state(facts: Facts) -> str:
    reasons = facts.gap_reasons
    if reasons.get("unfetched") or reasons.get("rejected"):
        return "bad"
    return "look" if reasons.get("source") else "good"


def _reconciliation(facts: Facts) -> Card:
    if not facts.reconciled:
        return Card("reconciliation", "never", "run: perps reconcile", "plain", "reconciliation")
    wrong = sum(row.compared - row.counts.get("identical", 0) for row in facts.reconciled)
    whole = sum(row.whole_different for row in facts.reconciled)
    detail = "; ".join(f"{row.resolution}: {reconciled_text(row)}" for row in facts.reconciled)
    state = "bad" if whole else "look" if wrong else "good"
    return Card("reconciliation", f"{wrong:,} differ", detail, state, "reconciliation")


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
