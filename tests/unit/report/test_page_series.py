"""The series of the page: nothing is lost in the compact shape, and the budget holds."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.core.resolution import DAY_MS
from extract.report.daily import funding, open_interest
from extract.report.packing import compact, runs
from extract.report.page import left_out_lines
from extract.report.series import LEADING, Series, bars, by_turnover, calendar, labels, order

FIRST = date(2024, 2, 28)


def day(number_of_day: int, candles: int, *, expected: int = 1440, known: bool = False) -> tuple:
    return (FIRST + timedelta(days=number_of_day), candles, expected, expected - candles, 3, 0, known)


@given(st.sets(st.integers(0, 500)), st.integers(1, 10))
def test_runs_expand_to_the_same_times(numbers, step):
    times = [at * step for at in sorted(numbers)]
    assert [first + at * step for first, count in runs(times, step) for at in range(count)] == times


def test_whole_days_cost_one_number_each():
    packed = calendar([day(at, 1440) for at in range(1000)], 1440)
    assert packed["runs"] == [[1_709_078_400_000, 1000]]
    assert packed["expected"] == packed["missing"] == packed["gap"] == packed["violations"] == {}
    assert len(compact(packed)) < 2_200


def test_a_calendar_keeps_what_is_unusual_about_a_day():
    days = [day(0, 100, expected=700), day(1, 1440), day(2, 0), day(3, 1430, known=True)]
    packed = calendar(days, 1440)
    assert packed["expected"] == {"0": 700}
    assert packed["missing"] == packed["gap"] == {"0": 600, "2": 1440, "3": 10}
    assert packed["known"] == [3]
    assert packed["fills"] == [3, 3, 3, 3]


def test_bars_keep_prices_exactly_and_volumes_to_seven_digits():
    row = (
        DAY_MS,
        *map(Decimal, ("0.00012345", "68241.50000000", "1E-8", "70000.00000000", "12345.67891234")),
    )
    packed = bars([row, (3 * DAY_MS, None, None, None, None, None)], DAY_MS)
    assert packed == {
        "runs": [[DAY_MS, 1], [3 * DAY_MS, 1]],
        "step": DAY_MS,
        "open": [0.00012345, None],
        "high": [68241.5, None],
        "low": [1e-08, None],
        "close": [70000, None],
        "volume": [12345.68, None],
    }


def test_funding_of_a_day_keeps_five_digits_and_says_how_many_hours_it_has():
    days = [(FIRST, 0.012345678, 14), (FIRST + timedelta(days=1), -1.2e-9, 24), (date(2024, 3, 2), 0.0, 24)]
    assert funding(days) == {
        "runs": [[1_709_078_400_000, 2], [1_709_337_600_000, 1]],
        "percent": [0.012346, -1.2e-09, 0],
        "hours": {"0": 14},
    }


def test_open_interest_keeps_its_unit_as_far_as_it_is_known():
    days = [(FIRST, 778_642_310.0)]
    assert open_interest(days, "USD") == {
        "runs": [[1_709_078_400_000, 1]],
        "value": [778_640_000],
        "unit": "USD",
    }
    assert open_interest(days, None)["unit"] == ""


def test_six_years_of_funding_and_open_interest_are_fifty_kilobytes():
    days = [(FIRST + timedelta(days=at), 0.0123456 + at / 1e6, 24) for at in range(2192)]
    held = [(day, 7e8 + hours * 12_345) for day, _, hours in days]
    assert len(compact(funding(days))) + len(compact(open_interest(held, "USD"))) < 50_000


def test_funding_is_left_out_of_those_instruments_that_have_it():
    embedded = {"A": {"name": "A", "funding": {}}, "B": {"name": "B"}, "C": {"name": "C"}}
    series = Series(embedded, {"days": "All"}, 0, {"funding": ["B"]})
    assert left_out_lines(series) == [
        "Funding by day: omitted for the 1 least traded of 2, to keep this page small."
    ]


def test_json_cannot_end_its_script_element_and_stays_the_same():
    name = "</script><script>alert('&')</script><!--"
    text = compact({"name": name})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": name}


def test_the_most_traded_instrument_is_first_and_equals_are_by_name():
    turnover = {"A": None, "B": Decimal(5), "C": Decimal(7)}
    assert by_turnover(["D", "B", "A", "C"], turnover) == ["C", "B", "A", "D"]


def test_the_leading_instruments_get_every_range_before_the_others_get_any():
    names = [f"N{at}" for at in range(LEADING + 2)]
    found = list(order(names, ["days", "hours"]))
    assert found[: 2 * LEADING] == [(name, part) for name in names[:LEADING] for part in ("days", "hours")]
    rest = names[LEADING:]
    assert found[2 * LEADING :] == [(name, part) for part in ("days", "hours") for name in rest]


def test_a_piece_that_does_not_fit_is_left_out_and_named():
    series = Series({"A": {"name": "A"}, "B": {"name": "B"}}, {"days": "All"}, room=10)
    assert series.add("A", "days", [1, 2, 3])
    assert not series.add("B", "days", [1, 2])
    assert series.room == 3
    assert series.instruments == {"A": {"name": "A", "days": [1, 2, 3]}, "B": {"name": "B"}}
    assert series.left_out == {"days": ["B"]}


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (1, {"days": "All (days)", "hours": "Last 30 days (hours)", "minutes": "Last 7 days (minutes)"}),
        (15, {"days": "All (days)", "hours": "Last 30 days (hours)", "minutes": "Last 7 days (15 minutes)"}),
        (120, {"days": "All (days)", "hours": "Last 30 days (2 hours)"}),
        (1440, {"days": "All (days)"}),
    ],
)
def test_ranges_show_no_finer_bars_than_there_are(minutes, expected):
    assert labels(minutes) == expected
