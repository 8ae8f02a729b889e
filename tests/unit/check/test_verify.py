"""What counts as a difference between the table and Deribit, and which windows are drawn."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.check.candles import compare, to_stored
from extract.check.differences import CHANGED, UNUSABLE, Difference
from extract.check.verify import cut_histories, draw_windows
from extract.core.resolution import DAY_MS, MINUTE_MS, RESOLUTIONS
from extract.load.endpoint import CANDLES_PER_WINDOW, FUNDING, candles

ONE = RESOLUTIONS["1"]
AT = 1_704_067_200_000
NOW = AT + 1000 * DAY_MS
REPLIED = (100.5, 110.0, 90.0, 105.0, 3.6680847969999992)
STORED = tuple(map(Decimal, ("100.50000000", "110.00000000", "90.00000000", "105.00000000", "3.66808480")))


def differences(stored, replied, raw=None) -> list[Difference]:
    return compare("X", ONE, stored, replied, raw or {})


def test_equal_at_eight_decimals_is_no_difference():
    assert differences({AT: STORED}, {AT: REPLIED}) == []


def test_a_changed_value_names_its_column_and_both_values():
    (found,) = differences({AT: STORED}, {AT: (100.5, 111.0, 90.0, 105.0, 3.66808481)})
    assert (found.kind, found.columns) == (CHANGED, ("high", "volume"))
    assert str(found) == (
        "X 2024-01-01 00:00:00Z changed: high 110.00000000 in the table, 111.00000000 at deribit; "
        "volume 3.66808480 in the table, 3.66808481 at deribit"
    )


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 1e10])
@pytest.mark.parametrize("stored", [{AT: STORED}, {}], ids=["stored", "not stored"])
def test_what_the_table_cannot_hold_is_unusable(value, stored):
    (found,) = differences(stored, {AT: (*REPLIED[:3], value, REPLIED[4])})
    assert (found.kind, found.columns) == (UNUSABLE, ("close",))


def test_a_tick_off_the_grid_is_unusable():
    (found,) = differences({}, {AT + 1000: REPLIED})
    assert (found.kind, found.columns) == (UNUSABLE, ())


@given(st.floats(-9e9, 9e9))
def test_what_is_compared_is_what_the_database_rounds_to(value):
    assert abs(to_stored(value) - Decimal(repr(value))) <= Decimal("5e-9")
    assert to_stored(value).as_tuple().exponent == -8


def test_half_is_rounded_away_from_zero_as_postgresql_does():
    assert [str(to_stored(value)) for value in (2.5e-9, 5e-9, -5e-9)] == ["0E-8", "1E-8", "-1E-8"]


RANGES = {"LONG": (AT, AT + 900 * DAY_MS), "SHORT": (AT, AT + 100 * DAY_MS)}
MINUTES = candles(ONE)
HISTORIES = {MINUTES: RANGES}


def test_the_windows_of_all_histories_cover_them_once():
    windows = cut_histories(HISTORIES, NOW)
    assert sum(window.buckets for window in windows) == 1000 * 1440
    assert max(window.buckets for window in windows) == CANDLES_PER_WINDOW
    assert max(window.end_ms for window in windows) == AT + 900 * DAY_MS


def test_windows_of_all_endpoints_are_drawn_together():
    windows = cut_histories(HISTORIES | {FUNDING: RANGES}, NOW)
    hours = [window for window in windows if window.endpoint == FUNDING]
    assert sum(window.buckets for window in hours) == 1000 * 24
    drawn = draw_windows(HISTORIES | {FUNDING: RANGES}, NOW, len(windows), seed=1)
    assert sorted(map(repr, drawn)) == sorted(map(repr, windows))


def test_what_is_not_closed_is_not_compared():
    (window,) = cut_histories({MINUTES: {"X": (AT, AT + DAY_MS)}}, AT + 3 * MINUTE_MS + 59_999)
    assert window.end_ms == AT + 3 * MINUTE_MS


def test_a_seed_draws_the_same_windows_again():
    drawn = draw_windows(HISTORIES, NOW, 10, seed=1)
    assert drawn == draw_windows(HISTORIES, NOW, 10, seed=1)
    assert drawn != draw_windows(HISTORIES, NOW, 10, seed=2)
    assert len(set(drawn)) == 10


@given(st.integers(0, 2**32))
def test_a_longer_history_gets_its_share_of_the_windows(seed):
    drawn = draw_windows(HISTORIES, NOW, 200, seed)
    longer = sum(window.instrument == "LONG" for window in drawn)
    assert 200 - 29 <= longer <= 200  # the short history has 29 windows in all
    assert len(draw_windows(HISTORIES, NOW, 10_000, seed)) == len(cut_histories(HISTORIES, NOW))
