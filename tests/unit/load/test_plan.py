"""Planning: every bucket of what is wanted is asked exactly once, and the cursor is never jumped over."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from extract.core.ranges import merge, subtract
from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS, RESOLUTIONS
from extract.load import endpoint
from extract.load.plan import (
    Cursor,
    Series,
    Window,
    earliest_start,
    plan_range,
    plan_update,
)

ONE = RESOLUTIONS["1"]
MINUTES = endpoint.candles(ONE)
LISTED = 1_534_242_287_000  # 2018-08-14 10:24:47
NOW = LISTED + 1000 * DAY_MS

times = st.integers(LISTED - 30 * DAY_MS, NOW + 10 * DAY_MS)
resolutions = st.sampled_from(sorted(RESOLUTIONS.values(), key=lambda r: r.step_ms))
cursors = st.one_of(st.none(), st.integers(0, 1000 * 1440).map(lambda n: ONE.floor(LISTED) + n * MINUTE_MS))
intervals = st.tuples(st.integers(0, 200), st.integers(0, 50)).map(lambda p: (p[0], p[0] + p[1]))


def covered(windows: list[Window]) -> list[tuple[int, int]]:
    return merge((window.start_ms, window.end_ms) for window in windows)


@given(resolutions, times, st.integers(1, 400 * DAY_MS), cursors)
def test_forward_windows_continue_the_cursor_without_a_break(resolution, start, length, cursor):
    cursor = None if cursor is None else resolution.floor(cursor)
    windows = plan_range(
        Series("X", endpoint.candles(resolution), LISTED, NOW, Cursor(cursor)), (start, start + length)
    )
    forward = [window for window in windows if window.forward]
    if forward and cursor is not None:
        assert forward[0].start_ms == cursor + resolution.step_ms
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(forward))
    if cursor is not None:
        history = [window for window in windows if not window.forward]
        beyond = start > cursor + resolution.step_ms
        assert all(window.end_ms <= cursor + resolution.step_ms or beyond for window in history)


def test_a_range_beyond_the_cursor_leaves_it_so_that_an_update_asks_for_what_lies_between():
    cursor = Cursor(ONE.floor(LISTED) + 10 * DAY_MS)
    start = cursor.last_ms + 100 * DAY_MS
    windows = plan_range(Series("X", MINUTES, LISTED, NOW, cursor), (start, start + DAY_MS))
    assert [window.forward for window in windows] == [False]
    after = (cursor.last_ms + MINUTE_MS, cursor.last_ms + DAY_MS)
    assert [window.forward for window in plan_range(Series("X", MINUTES, LISTED, NOW, cursor), after)] == [
        True
    ]
    update = plan_update(Series("X", MINUTES, LISTED, NOW, cursor), lookback=10)
    assert covered(update) == [(cursor.last_ms - 9 * MINUTE_MS, ONE.closed_end(NOW))]


def test_years_before_listing_cost_one_window():
    windows = plan_range(
        Series("X", MINUTES, LISTED, NOW, Cursor()), (0, ONE.floor(LISTED) + 5000 * MINUTE_MS)
    )
    assert len(windows) == 2
    assert windows[0].start_ms == ONE.floor(LISTED) - endpoint.CANDLES_PER_WINDOW * MINUTE_MS


def test_a_range_wholly_before_listing_asks_nothing():
    assert plan_range(Series("X", MINUTES, LISTED, NOW, Cursor()), (0, LISTED - 30 * DAY_MS)) == []


def test_an_update_without_a_cursor_begins_at_listing():
    series = Series("X", MINUTES, LISTED, NOW, Cursor())
    windows = plan_update(series, lookback=10)
    assert windows[0].start_ms == earliest_start(series)
    assert all(window.forward for window in windows)


def test_a_cursor_on_an_odd_tick_does_not_shift_what_is_asked():
    last = ONE.floor(NOW) - HOUR_MS
    windows = plan_update(Series("X", MINUTES, LISTED, NOW, Cursor(last + 1000)), lookback=0)
    assert windows[0].start_ms == last + MINUTE_MS


def test_without_a_cursor_an_update_begins_with_what_is_owed():
    start = ONE.floor(LISTED) + 500 * DAY_MS
    owed = ((start, start + DAY_MS),)
    windows = plan_update(Series("X", MINUTES, LISTED, NOW, Cursor(None, owed)), lookback=10)
    assert covered(windows) == [(start, ONE.closed_end(NOW))]
    assert all(window.forward for window in windows)


@given(st.lists(intervals), st.lists(intervals))
def test_subtract_leaves_exactly_the_times_that_were_not_answered(owed, answered):
    def minutes(of):
        return {minute for a, b in of for minute in range(a, b)}

    left = subtract(owed, answered)
    assert minutes(left) == minutes(owed) - minutes(answered)
    assert left == merge(left)
