"""The dbt tests of funding and settlements, on rows that are right, wrong and absent."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from tests.support.dbt_funding import (
    BTC,
    DAY,
    HOUR,
    SOL,
    Funding,
    Row,
    Settlement,
    asked,
    hour,
    land,
    list_instrument,
    settled,
    settlements,
)
from tests.support.dbt_project import WITHOUT_ROLLUPS, Candle, DbtProject, DbtResult, candles, own_project

ERRORS = {
    "perpetuals_funding_nothing_missing",
    "perpetuals_settlements_nothing_missing",
    "open_interest_not_negative",
    "no_rejected_rows",
    "known_rows_exist",
}
WARNINGS = {
    "perpetuals_funding_nothing_missing_at_the_source",
    "perpetuals_settlements_nothing_missing_at_the_source",
    "funding_chain",
    "funding_eight_hours",
    "no_funding_jumps",
    "settlement_marks_in_range",
    "endpoints_are_current",
}
AUDITS = {"audit_funding", "audit_settlements"}
NEW = ERRORS | WARNINGS
AUDIT = ("test", "--select", "tag:audit", "--vars", "{audit: true}")


def true_funding(first: int, last: int, instrument: str = BTC) -> list[Funding]:
    """Return hours whose chain holds and whose eight-hour rate follows Deribit's formula."""
    prices = [round(100 + 5 * math.sin(number / 7), 2) for number in range(-1, last)]
    rates = [0.0 if number % 6 == 0 else 2e-5 * math.cos(number / 11) for number in range(last)]
    rows = []
    for number in range(first, last):
        window = range(max(0, number - 7), number + 1)
        eight = prices[window[0]] * sum(rates[each] / prices[each] for each in window)
        before = prices[number] if number else None
        rows.append(Funding(hour(number), instrument, rates[number], eight, prices[number + 1], before))
    return rows


def build(project: DbtProject) -> DbtResult:
    """Build and test all but the rollups."""
    return project.run("build", *WITHOUT_ROLLUPS)


def statuses(outcome: DbtResult) -> dict[str, str]:
    """Return how the tests of funding and settlements ended."""
    return {name: outcome.statuses[name] for name in sorted(NEW)}


def listed(project: DbtProject) -> None:
    list_instrument(project, "9.5", BTC, "reversed")
    list_instrument(project, "9.5", SOL, "linear")
    project.complete("9.5")


@pytest.fixture
def sound(project: DbtProject) -> DbtProject:
    """Ten days of funding and settlements and two of candles, all as they should be."""
    listed(project)
    project.land("10.5", candles(0, 2880))
    land(project, "10.5", [*true_funding(0, 240), *true_funding(0, 240, SOL)])
    land(project, "10.5", [*settlements(0, 10), *settlements(0, 10, instrument=SOL)])
    return project


def without(rows: list[Row], *times) -> list[Row]:
    return [row for row in rows if row.timestamp not in times]


def test_sound_rows_pass_everything(sound: DbtProject) -> None:
    outcome = build(sound)
    assert outcome.success, outcome.output
    assert statuses(outcome) == dict.fromkeys(sorted(NEW), "pass")
    audit = sound.run(*AUDIT)
    assert {audit.statuses[name] for name in AUDITS} == {"pass"}
    coverage = sound.query(
        "select instrument, rows, first_row, last_row, missing from quality.funding_coverage"
    )
    assert sorted(coverage) == [(name, 240, hour(0), hour(239), 0) for name in (BTC, SOL)]
    open_at, day = hour(8), timedelta(days=1)
    assert sound.query(
        "select distinct rows, first_row, last_row, coverage_percent from quality.settlement_coverage"
    ) == [(10, open_at, open_at + 9 * day, 100)]


def test_a_database_with_candles_alone_has_no_noise(project: DbtProject) -> None:
    listed(project)
    project.land("10.5", candles(0, 2880))
    outcome = build(project)
    assert outcome.success, outcome.output
    assert statuses(outcome) == dict.fromkeys(sorted(NEW), "pass")


@pytest.mark.parametrize("rows", [true_funding(0, 48), settlements(0, 3)], ids=["funding", "settlements"])
def test_a_database_without_candles_passes_everything(project: DbtProject, rows: list[Row]) -> None:
    listed(project)
    land(project, "10.5", rows)
    outcome = project.run("build")
    assert outcome.success, outcome.output
    tests = {name: status for name, status in outcome.statuses.items() if status not in ("success", "no-op")}
    assert set(tests.values()) == {"pass"}, tests
    audit = project.run(*AUDIT)
    assert audit.success, audit.output


def test_what_was_not_fetched_is_an_error_and_what_deribit_lacks_a_warning(sound: DbtProject) -> None:
    """The outage of 2020: 06:00 and 07:00 have no row, and two windows show that Deribit has none."""
    hole = hour(246), hour(247)
    land(sound, "11.5", without(true_funding(240, 260), *hole))
    land(sound, "11.5", without(settlements(10, 15), settled(12)))
    outcome = build(sound)
    found = statuses(outcome)
    assert {name for name, status in found.items() if status == "fail"} == {
        "perpetuals_funding_nothing_missing",
        "perpetuals_settlements_nothing_missing",
    }
    assert sound.query(
        "select instrument, gap_start, gap_end, missing, reason from quality.funding_gaps"
    ) == [(BTC, hour(245), hour(248), 2, "unfetched")]
    assert sound.query("select gap_start, gap_end, missing, reason from quality.settlement_gaps") == [
        (hour(8) + 11 * DAY, hour(8) + 13 * DAY, 1, "unfetched")
    ]

    asked(sound, "12.5", "funding", hour(244), hour(250), counts=(4, 0, 0))
    asked(sound, "12.5", "settlements", hour(8) + 12 * DAY, hour(8) + 13 * DAY)
    sound.complete("12.5")
    found = statuses(build(sound))
    assert {name for name, status in found.items() if status != "pass"} == {
        "funding_chain",  # these rows were made for a market without the hole
        "perpetuals_funding_nothing_missing_at_the_source",
        "perpetuals_settlements_nothing_missing_at_the_source",
    }
    assert set(found.values()) == {"pass", "warn"}
    for name, hidden in (("funding", 2), ("settlement", 1)):
        columns = "known, unfetched, rejected, source, expected - rows"
        query = f"select {columns} from quality.{name}_coverage where instrument = '{BTC}'"
        assert sound.query(query) == [(0, 0, 0, hidden, hidden)]


def test_an_entry_of_known_gaps_explains_a_gap_of_its_endpoint_alone(project: DbtProject, tmp_path) -> None:
    listed(project)
    land(project, "10.5", without(true_funding(0, 20), hour(6)))
    knowing = own_project(project.database, tmp_path)
    seed = knowing.project / "dbt_project/seeds/known_gaps.csv"
    header = seed.read_text()
    entry = "BTC-PERPETUAL,2024-01-01 05:00,2024-01-01 07:00,outage,seen twice,"
    for endpoint, reason, rows_exist, gaps_exist in (
        ("funding", "known", "pass", "pass"),
        ("settlements", "unfetched", "fail", "pass"),
        ("", "unfetched", "pass", "fail"),
        ("oi", "unfetched", "pass", "fail"),
    ):
        seed.write_text(f"{header}{entry}{endpoint}\n")
        outcome = build(knowing)
        assert knowing.query("select reason from quality.funding_gaps") == [(reason,)]
        assert outcome.statuses["known_rows_exist"] == rows_exist
        assert outcome.statuses["known_gaps_exist"] == gaps_exist
    assert project.query("select endpoint from quality.known_gaps") == [("oi",)]


def test_rows_that_cannot_be_true_fail_unless_another_row_replaced_them(sound: DbtProject) -> None:
    land(sound, "11.5", [Funding(hour(9), interest_1h=None)])
    land(sound, "11.5", [Settlement(settled(3), position=-1.0)])
    assert statuses(build(sound))["no_rejected_rows"] == "pass"
    land(sound, "12.5", [Funding(hour(240), index_price=0.0)])
    land(sound, "12.5", [Settlement(settled(10), mark_price=float("nan"))])
    outcome = build(sound)
    assert statuses(outcome)["no_rejected_rows"] == "fail"
    assert sound.query(
        "select endpoint, timestamp, reason from quality.rejected_rows order by load_id, 1"
    ) == [
        ("funding", hour(9), "missing_value"),
        ("settlements", settled(3), "open_interest_negative"),
        ("funding", hour(240), "price_not_positive"),
        ("settlements", settled(10), "not_a_number"),
    ]


def test_what_the_source_contradicts_is_a_warning(sound: DbtProject) -> None:
    *_, last = true_funding(0, 240)
    price = last.index_price
    land(
        sound,
        "11.5",
        [
            Funding(
                hour(240), interest_1h=0.004, interest_8h=0.001, index_price=price, prev_index_price=99.0
            ),
            Funding(hour(240), SOL, 1e-5, 0.001, 100.0, true_funding(0, 240)[-1].index_price),
        ],
    )
    land(
        sound,
        "11.5",
        [Settlement(settled(1), mark_price=111.2), Settlement(settled(0), SOL, mark_price=900.0)],
    )
    outcome = build(sound)
    assert outcome.success, outcome.output
    warned = {name for name, status in statuses(outcome).items() if status == "warn"}
    assert warned == {"funding_chain", "funding_eight_hours", "no_funding_jumps", "settlement_marks_in_range"}
    # of a linear perpetual the formula is not known, and without candles nothing is compared
    for name in sorted(warned):
        (shown,) = [
            line for line in outcome.output.splitlines() if line.startswith("Got ") and name in line
        ] or [""]
        assert shown.startswith("Got 1 result") or not shown


def test_an_endpoint_that_stays_behind_the_candles_is_a_warning(project: DbtProject) -> None:
    listed(project)
    project.land("10.5", [Candle(hour(0) + 3 * DAY), Candle(hour(0) + 3 * DAY, SOL)])
    land(project, "10.5", true_funding(0, 72 - 3))
    land(project, "10.5", [*settlements(0, 1), *settlements(0, 2, instrument=SOL)])
    outcome = build(project)
    assert outcome.statuses["endpoints_are_current"] == "warn"
    project.query(f"delete from perpetuals_funding where timestamp > '{hour(60)}'")
    failed = project.run("test", "--select", "endpoints_are_current", "--store-failures")
    assert failed.statuses == {"endpoints_are_current": "warn"}
    found = project.query(
        "select endpoint, instrument, last_row from test_failures.endpoints_are_current order by 1"
    )
    assert found == [("funding", BTC, hour(60)), ("settlements", BTC, hour(8))]


def test_emptied_tables_fail_and_so_does_the_audit_of_a_changed_one(sound: DbtProject) -> None:
    sound.build()
    sound.query(
        "update perpetuals_funding set interest_1h = 1 where timestamp = '2024-01-02Z';"
        " update perpetuals_settlements set open_interest = -1 where settlement_day = '2024-01-02'"
    )
    audit = sound.run(*AUDIT)
    assert {audit.statuses[name] for name in AUDITS} == {"fail"}
    assert sound.run("test", "--select", "open_interest_not_negative").statuses == {
        "open_interest_not_negative": "fail"
    }
    sound.query("delete from perpetuals_funding; delete from perpetuals_settlements")
    names = sorted(ERRORS - {"no_rejected_rows", "known_rows_exist"})
    assert sound.run("test", "--select", *names).statuses == dict.fromkeys(names, "fail")
    audit = sound.run(*AUDIT)
    assert {audit.statuses[name] for name in AUDITS} == {"fail"}
    assert build(sound).success, "a table that lost its rows is built anew"


def test_the_chain_holds_across_a_gap_of_the_source(project: DbtProject) -> None:
    listed(project)
    rows = without(true_funding(0, 30), hour(20), hour(21))
    at = next(number for number, row in enumerate(rows) if row.timestamp == hour(22))
    rows[at] = rows[at]._replace(prev_index_price=rows[at - 1].index_price)
    rows[-1] = rows[-1]._replace(interest_8h=None)  # its eight hours begin at the gap
    land(project, "10.5", rows)
    asked(project, "10.5", "funding", hour(20), hour(22))
    outcome = build(project)
    assert outcome.success, outcome.output
    assert {name for name, status in statuses(outcome).items() if status != "pass"} == {
        "perpetuals_funding_nothing_missing_at_the_source"
    }
    assert hour(1) - hour(0) == HOUR
