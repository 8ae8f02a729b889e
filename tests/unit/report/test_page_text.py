"""What the page and row-counts.txt say: verdicts, lists, and nothing that a name could smuggle in."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from extract.report.cards import make_cards, percent_text
from extract.report.counts import count_lines
from extract.report.facts import Covered, CoveredRows, Facts, Reconciled
from extract.report.findings import KINDS, Found, cell
from extract.report.page import content_policy, render_page
from extract.report.series import Series
from extract.report.tables import (
    OPEN_ROWS,
    changes_text,
    difference_text,
    number_text,
    shown_listings,
    time_text,
)

AT = datetime(2024, 1, 2, 3, 4, tzinfo=UTC)
HOSTILE = "</td></script><script>alert(1)</script><img src=x onerror=alert(2)>"


def covered(instrument: str = "BTC-PERPETUAL", candles: int = 10) -> Covered:
    return Covered(instrument, candles, AT, AT, 10, Decimal(100 * candles) / 10, 4, AT, 1e6)


def rows_of(endpoint: str, rows: int = 10, lacking: int = 0, source: int = 0) -> CoveredRows:
    missing = lacking + source
    expected = rows + missing
    percent = Decimal(100 * rows) / expected
    return CoveredRows(endpoint, "BTC-PERPETUAL", rows, AT, AT, expected, missing, percent, lacking, source)


def facts(**changed: Any) -> Facts:
    usual: dict[str, Any] = {
        "dbname": "perps",
        "made_at": AT,
        "bucket_minutes": 1,
        "origins": ["live"],
        "last_load": "1.5",
        "loaded_at": AT,
        "coverage": [covered()],
        "reconciled": [],
        "gap_reasons": {},
        "known_gaps": {},
        "covered_rows": [],
    }
    return Facts(**(usual | changed))


def found(**lists: list[dict[str, Any]]) -> dict[str, Found]:
    return {kind.name: Found(kind, len(lists.get(kind.name, [])), lists.get(kind.name, [])) for kind in KINDS}


def states(some: Facts, lists: dict[str, Found] | None = None) -> dict[str, str]:
    return {card.label: card.state for card in make_cards(some, lists or found())}


def gap(instrument: str = "BTC-PERPETUAL", **changed: Any) -> dict[str, Any]:
    return {
        "instrument": instrument,
        "gap_start": AT,
        "gap_end": AT,
        "gap_minutes": 12,
        "reason": "source",
        "note": None,
        "last_fetched_at": AT,
    } | changed


def page(
    some: Facts | None = None, lists: dict[str, Found] | None = None, name: str = "BTC-PERPETUAL"
) -> str:
    return render_page(some or facts(), lists or found(), Series({name: {"name": name}}, {"days": "All"}, 0))


class Parts(HTMLParser):
    """The scripts of a page, and every attribute that could name an address."""

    def __init__(self, text: str):
        super().__init__()
        self.scripts: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")
        ]
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def test_nothing_wrong_is_good_everywhere_and_nothing_compared_is_no_verdict():
    assert states(facts()) == {
        "candles": "plain",
        "coverage": "good",
        "gaps": "good",
        "violations": "good",
        "rejected": "good",
        "rounded": "good",
        "revisions": "good",
        "reconciliation": "plain",
    }


@pytest.mark.parametrize(
    ("reasons", "state"),
    [
        ({"known": 3}, "good"),
        ({"source": 1, "known": 1}, "look"),
        ({"unfetched": 1}, "bad"),
        ({"rejected": 1, "source": 1}, "bad"),
    ],
)
def test_a_gap_is_as_bad_as_its_reason(reasons, state):
    shown = states(facts(gap_reasons=reasons, coverage=[covered(candles=9)]))
    assert (shown["gaps"], shown["coverage"]) == (state, state)


def test_candles_alone_say_nothing_of_funding():
    assert not {"funding", "settlements"} & set(states(facts()))
    body = page().partition("<body>")[2].partition('<script type="application/json"')[0]
    assert "Funding" not in body and "funding" not in body and "ettlement" not in body
    assert "funding" not in "\n".join(count_lines(facts(), found()))


@pytest.mark.parametrize(
    ("missing", "state"), [({}, "good"), ({"source": 1}, "look"), ({"source": 2, "lacking": 1}, "bad")]
)
def test_a_missing_hour_of_funding_is_as_bad_as_its_reason(missing, state):
    some = facts(covered_rows=[rows_of("funding", **missing)])
    assert states(some)["funding"] == state
    assert "settlements" not in states(some)


def test_funding_and_settlements_are_covered_in_words_and_their_gaps_listed():
    lists = found(funding_gaps=[gap(missing=2, reason="unfetched")])
    some = facts(covered_rows=[rows_of("funding", 8, lacking=2), rows_of("settlements", 7)])
    text = page(some, lists)
    assert "2 of 10 hours missing" in text
    assert '<td data-label="hours" class="number">2</td>' in text
    assert "No daily settlement is missing" in text
    assert '<td data-label="coverage %" class="number">80.0000</td>' in text
    said = "\n".join(count_lines(some, lists))
    assert "funding                         hours first (utc)" in said
    assert "funding gaps                        1" in said
    assert "settlement gaps                     0" in said


def test_a_difference_counts_as_bad_only_where_no_minute_is_missing():
    partly = Reconciled("60", {"identical": 5, "different": 1}, 0, AT, AT)
    whole = Reconciled("1D", {"different": 1}, 1, AT, AT)
    assert states(facts(reconciled=[partly]))["reconciliation"] == "look"
    assert states(facts(reconciled=[partly, whole]))["reconciliation"] == "bad"


def test_a_rejected_candle_without_a_gap_is_worth_a_look():
    lists = found(rejected=[{"instrument": "A"}])
    assert states(facts(), lists)["rejected"] == "look"
    assert states(facts(gap_reasons={"rejected": 1}), lists)["rejected"] == "bad"


def test_a_day_with_rounded_values_is_worth_a_look_and_shows_every_digit():
    values = {"sent_value": Decimal("2.34E-8"), "table_value": Decimal("2E-8"), "inexact": 1}
    place = {"instrument": "A", "day": AT.date(), "timestamp": AT, "column_name": "close"}
    lists = found(inexact=[values | place])
    assert states(facts(), lists)["rounded"] == "look"
    (shown,) = [each for each in shown_listings(lists, reconciled=False) if each["listing"].name == "inexact"]
    assert shown["open"] == [
        ["A", "2024-01-02", "1", "2024-01-02 03:04", "close", "0.0000000234", "0.00000002"]
    ]


def test_an_empty_database_says_that_there_is_nothing():
    empty = facts(coverage=[], origins=[], last_load=None, loaded_at=None)
    assert states(empty)["candles"] == "bad"
    assert "No candles yet" in render_page(empty, found(), Series({}, {"days": "All"}, 0))
    assert "origin: none" in "\n".join(count_lines(empty, found()))


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("simulator", "SYNTHETIC CANDLES, NOT MARKET DATA"),
        ("testnet", "TESTNET CANDLES, NOT MARKET DATA"),
        ("live", None),
    ],
)
def test_what_is_not_the_markets_is_said_in_large_letters(origin, said):
    some = facts(origins=[origin])
    assert some.warning == said
    assert ('class="warning"' in page(some)) == (said is not None)
    assert said is None or said in page(some)
    assert ("NOT MARKET DATA" in "\n".join(count_lines(some, found()))) == (said is not None)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]
)
def test_a_text_that_a_spreadsheet_would_compute_begins_with_an_apostrophe(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["BTC-PERPETUAL", "asked twice = nothing", "", None, -1, True])
def test_other_texts_and_numbers_are_as_they_are(value):
    assert cell(value) == value
    assert cell(Decimal("-0.5")) == "-0.5"


def test_a_long_list_is_folded_and_the_rest_is_in_the_file():
    rows = [gap(f"N{at}") for at in range(200)]
    lists = found() | {"gaps": Found(KINDS[0], 1234, rows)}
    shown = shown_listings(lists, reconciled=False)[0]
    assert (len(shown["open"]), len(shown["folded"]), shown["more"]) == (OPEN_ROWS, 200 - OPEN_ROWS, 1034)
    text = page(lists=lists)
    assert "1,034 more in gap-report.csv" in text
    assert text.count('<td data-label="reason">source</td>') == 200


def test_never_reconciled_is_not_called_identical():
    assert "Never reconciled" in page()
    compared = facts(reconciled=[Reconciled("60", {"identical": 5}, 0, AT, AT)])
    assert "Every bucket compared is identical" in page(compared)
    assert "never reconciled" in "\n".join(count_lines(facts(), found()))
    assert "identical 5" in "\n".join(count_lines(compared, found()))


def test_the_page_names_no_address_and_may_run_its_own_two_scripts_only():
    text = page()
    parts = Parts(text)
    assert all(address.startswith("#") for address in parts.addresses)
    assert len(parts.addresses) > 5
    data, *programs = parts.scripts
    assert data.startswith("{")
    policy = content_policy(*programs)
    assert f'content="{policy.replace(chr(39), "&#39;")}"' in text
    digest = base64.b64encode(hashlib.sha256(programs[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "\r" not in text


def test_values_are_shown_exactly_and_without_what_says_nothing():
    assert (percent_text(9_999_999, 10_000_000), percent_text(0, 0)) == ("99.9999\u00a0%", "none")  # not 100
    assert [number_text(Decimal(text)) for text in ("1E-8", "100", "NaN")] == ["0.00000001", "100", "NaN"]
    off_grid = datetime(2024, 1, 1, 0, 5, 0, 500_000, tzinfo=UTC)
    assert (time_text(off_grid), time_text(AT)) == ("2024-01-01 00:05:00.500", "2024-01-02 03:04")
    assert [cell(value) for value in (off_grid, AT, Decimal("1E-8"))] == [
        *("2024-01-01T00:05:00.500Z", "2024-01-02T03:04:00Z", "0.00000001")
    ]
    revision = {
        f"{age}_{name}": Decimal("1.50") for age in ("old", "new") for name in ("open", "high", "low")
    }
    revision |= {"old_close": Decimal("100.00000000"), "new_close": Decimal("101.5")}
    revision |= {"old_volume": Decimal(0), "new_volume": Decimal("0.00000001")}
    assert changes_text(revision) == "close 100 → 101.5, volume 0 → 0.00000001"
    different = {"differing_columns": "high,volume", "high": Decimal(1), "exchange_high": Decimal("2.0")}
    different |= {"volume": Decimal("10.10"), "exchange_volume": None}
    assert difference_text(different) == "high 1 (Deribit 2), volume 10.1 (Deribit null)"
