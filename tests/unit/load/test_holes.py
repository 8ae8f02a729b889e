"""Holes between ticks, and the ranges that ask for them a second time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.core.ranges import merge
from extract.core.resolution import HOUR_MS, MINUTE_MS, RESOLUTIONS
from extract.load.endpoint import CANDLES_PER_WINDOW
from extract.load.holes import find_holes, plan_second_fetch

ONE, SIX_HOURS = RESOLUTIONS["1"], RESOLUTIONS["360"]
START = 1_704_067_200_000  # a midnight


def minutes(*numbers: int) -> list[int]:
    return [START + number * MINUTE_MS for number in numbers]


def span(start: int, end: int) -> tuple[int, int]:
    return START + start * MINUTE_MS, START + end * MINUTE_MS


def test_a_tick_off_the_grid_stands_for_the_bucket_that_it_lies_in():
    late = [*minutes(0), START + MINUTE_MS + 1000, *minutes(2)]
    assert find_holes(late, span(0, 3), ONE) == []
    late = [*minutes(0), START + MINUTE_MS + 1000, *minutes(3)]
    assert find_holes(late, span(0, 4), ONE) == [span(2, 3)]


@pytest.mark.parametrize("anchor", [0, 2 * HOUR_MS], ids=["midnight", "settlement"])
def test_where_buckets_open_need_not_be_known(anchor):
    step, end = SIX_HOURS.step_ms, START + 12 * SIX_HOURS.step_ms
    ticks = list(range(START + anchor, end - step + 1, step))
    assert find_holes(ticks, (START, end - step + 1), SIX_HOURS) == []
    del ticks[3:5]
    assert find_holes(ticks, (START, end - step + 1), SIX_HOURS) == [(ticks[2] + step, ticks[3])]


@given(st.sets(st.integers(0, 99)), st.integers(0, 50), st.integers(0, 50))
def test_holes_are_exactly_the_minutes_without_a_tick(present, start, length):
    end = start + length
    ticks = [number for number in sorted(present) if start <= number < end]
    holes = find_holes(minutes(*ticks), span(start, end), ONE)
    missing = {tick for a, b in holes for tick in range(a, b, MINUTE_MS)}
    assert missing == set(minutes(*range(start, end))) - set(minutes(*ticks))
    assert holes == merge(holes)
    assert all(a < b for a, b in holes)


windows = st.tuples(st.integers(0, 100), st.integers(2, CANDLES_PER_WINDOW)).map(
    lambda drawn: (drawn[0], drawn[0] + drawn[1])
)


@given(windows, st.data())
def test_all_holes_are_asked_again_in_two_ranges_at_most_that_were_not_asked_before(window, data):
    start, end = window
    edges = sorted(data.draw(st.sets(st.integers(start, end), min_size=2, max_size=20)))
    holes = [span(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    again = plan_second_fetch(holes, span(start, end), [span(start, end)], ONE)
    assert len(again) <= 2
    assert span(start, end) not in again
    assert merge(again) == [(again[0][0], again[-1][1])]
    assert span(start, end)[0] <= again[0][0] <= holes[0][0]
    assert holes[-1][1] <= again[-1][1] <= span(start, end)[1]


def test_a_hole_is_asked_again_with_three_buckets_around_it():
    assert plan_second_fetch([span(100, 112)], span(0, 5000), [span(0, 5000)], ONE) == [span(97, 115)]


def test_a_window_without_any_candle_is_asked_again_in_two_halves():
    again = plan_second_fetch([span(0, 5000)], span(0, 5000), [span(0, 5000)], ONE)
    assert again == [span(0, 2500), span(2500, 5000)]


def test_halves_that_were_asked_before_are_cut_elsewhere():
    asked = [span(0, 10), span(5, 10)]
    assert plan_second_fetch([span(0, 10)], span(0, 10), asked, ONE) == [span(0, 4), span(4, 10)]


def test_a_single_bucket_can_only_be_asked_as_it_is():
    assert plan_second_fetch([span(0, 1)], span(0, 1), [span(0, 1)], ONE) == [span(0, 1)]
