"""Planning: every bucket of what is wanted is asked exactly once, and the cursor is never jumped over."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from extract.core.ranges import merge, subtract
from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS, RESOLUTIONS
from extract.load.plan import (
    BUCKETS_PER_WINDOW,
    Cursor,
    Series,
    Window,
    earliest_start,
    packages,
    plan_range,
    plan_update,
)

ONE = RESOLUTIONS["1"]
LISTED = 1_534_242_287_000  # 2018-08-14 10:24:47
NOW = LISTED + 1000 * DAY_MS

times = st.integers(LISTED - 30 * DAY_MS, NOW + 10 * DAY_MS)
resolutions = st.sampled_from(sorted(RESOLUTIONS.values(), key=lambda r: r.step_ms))
cursors = st.one_of(st.none(), st.integers(0, 1000 * 1440).map(lambda n: ONE.floor(LISTED) + n * MINUTE_MS))
intervals = st.tuples(st.integers(0, 200), st.integers(0, 50)).map(lambda p: (p[0], p[0] + p[1]))


def covered(windows: list[Window]) -> list[tuple[int, int]]:
    return merge((window.start_ms, window.end_ms) for window in windows)


@given(resolutions, times, st.integers(1, 400 * DAY_MS), cursors)
def test_a_range_asks_for_every_bucket_once(resolution, start, length, cursor):
    cursor = None if cursor is None else resolution.floor(cursor)
    windows = plan_range(Series("X", resolution, LISTED, NOW, Cursor(cursor)), (start, start + length))
    first = max(start, earliest_start(resolution, LISTED))
    end = min(start + length, resolution.closed_end(NOW))
    wanted = range(resolution.ceil(first), end, resolution.step_ms)
    asked = sum(window.buckets for window in windows)
    # a cursor on one anchor cuts a range on the other within a bucket, which then counts on both sides
    assert len(wanted) <= asked < len(wanted) + len(resolution.anchors_ms)
    assert sum(b - a for a, b in covered(windows)) == sum(w.end_ms - w.start_ms for w in windows)
    assert all(0 < window.buckets <= BUCKETS_PER_WINDOW for window in windows)
    if wanted:
        assert (min(w.start_ms for w in windows), max(w.end_ms for w in windows)) == (wanted[0], end)


@given(resolutions, times, st.integers(1, 400 * DAY_MS), cursors)
def test_forward_windows_continue_the_cursor_without_a_break(resolution, start, length, cursor):
    cursor = None if cursor is None else resolution.floor(cursor)
    windows = plan_range(Series("X", resolution, LISTED, NOW, Cursor(cursor)), (start, start + length))
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
    windows = plan_range(Series("X", ONE, LISTED, NOW, cursor), (start, start + DAY_MS))
    assert [window.forward for window in windows] == [False]
    update = plan_update(Series("X", ONE, LISTED, NOW, cursor), lookback=10)
    assert covered(update) == [(cursor.last_ms - 9 * MINUTE_MS, ONE.closed_end(NOW))]


def test_years_before_listing_cost_one_window():
    windows = plan_range(Series("X", ONE, LISTED, NOW, Cursor()), (0, ONE.floor(LISTED) + 5000 * MINUTE_MS))
    assert len(windows) == 2
    assert windows[0].start_ms == ONE.floor(LISTED) - BUCKETS_PER_WINDOW * MINUTE_MS


def test_a_range_wholly_before_listing_asks_nothing():
    assert plan_range(Series("X", ONE, LISTED, NOW, Cursor()), (0, LISTED - 30 * DAY_MS)) == []


def test_an_update_without_a_cursor_begins_at_listing():
    windows = plan_update(Series("X", ONE, LISTED, NOW, Cursor()), lookback=10)
    assert windows[0].start_ms == earliest_start(ONE, LISTED)
    assert all(window.forward for window in windows)


def test_an_update_asks_again_for_what_is_owed_and_for_nothing_twice():
    last = ONE.floor(NOW) - HOUR_MS
    owed = ((last - 30 * DAY_MS, last - 29 * DAY_MS), (last - HOUR_MS, last + 30 * MINUTE_MS))
    windows = plan_update(Series("X", ONE, LISTED, NOW, Cursor(last, owed)), lookback=10)
    history = [window for window in windows if not window.forward]
    forward_start = last - 9 * MINUTE_MS
    assert covered(history) == [owed[0], (owed[1][0], forward_start)]
    assert sum(b - a for a, b in covered(windows)) == sum(w.end_ms - w.start_ms for w in windows)


def test_a_cursor_on_an_odd_tick_does_not_shift_what_is_asked():
    last = ONE.floor(NOW) - HOUR_MS
    windows = plan_update(Series("X", ONE, LISTED, NOW, Cursor(last + 1000)), lookback=0)
    assert windows[0].start_ms == last + MINUTE_MS


def test_a_look_back_ends_at_listing():
    windows = plan_update(Series("X", ONE, LISTED, NOW, Cursor(ONE.floor(NOW) - HOUR_MS)), lookback=10**12)
    assert windows[0].start_ms == earliest_start(ONE, LISTED)


def test_without_a_cursor_an_update_begins_with_what_is_owed():
    start = ONE.floor(LISTED) + 500 * DAY_MS
    owed = ((start, start + DAY_MS),)
    windows = plan_update(Series("X", ONE, LISTED, NOW, Cursor(None, owed)), lookback=10)
    assert covered(windows) == [(start, ONE.closed_end(NOW))]
    assert all(window.forward for window in windows)


def test_an_unaligned_start_misses_no_bucket_of_either_anchor():
    six_hours = RESOLUTIONS["360"]
    start = NOW // DAY_MS * DAY_MS - 10 * DAY_MS + HOUR_MS
    windows = plan_range(Series("X", six_hours, LISTED, NOW, Cursor()), (start, start + DAY_MS))
    assert windows[0].start_ms == start + HOUR_MS  # 02:00, should buckets open at 08:00


def test_the_forming_candle_is_never_asked_for_as_closed():
    now = ONE.floor(NOW) + 59_999
    windows = plan_update(Series("X", ONE, LISTED, now, Cursor(now - HOUR_MS)), lookback=0)
    assert windows[-1].end_ms == ONE.floor(now)


@given(st.lists(intervals), st.lists(intervals))
def test_subtract_leaves_exactly_the_times_that_were_not_answered(owed, answered):
    def minutes(of):
        return {minute for a, b in of for minute in range(a, b)}

    left = subtract(owed, answered)
    assert minutes(left) == minutes(owed) - minutes(answered)
    assert left == merge(left)


@given(st.lists(st.integers(1, BUCKETS_PER_WINDOW), max_size=40), st.integers(1, 20_000))
def test_packages_keep_the_order_and_their_bound(sizes, room):
    windows, at = [], 0
    for size in sizes:
        windows.append(Window("X", at, at + size * MINUTE_MS, ONE))
        at += size * MINUTE_MS
    cut = list(packages(windows, room))
    assert [window for package in cut for window in package] == windows
    assert all(sum(w.buckets for w in package) <= room or len(package) == 1 for package in cut)
