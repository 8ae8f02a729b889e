"""Plans answered by any server: every closed candle of what is wanted exactly once, and nothing else.

`FUZZ_EXAMPLES=20000 pytest tests/fuzz/test_windows_covered.py` looks longer.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.core.ranges import merge, subtract
from extract.core.resolution import RESOLUTIONS, Resolution
from extract.deribit.candles import VALUES, parse_chart
from extract.deribit.replies import Reply
from extract.deribit.rows import Rows
from extract.load import endpoint
from extract.load.fetch import fetch_window
from extract.load.plan import Cursor, Series, Window, earliest_start, packages, plan_range, plan_update

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
BUCKETS = 60
BASE = 1_704_067_200_000
LONGEST_WINDOW = 9


@dataclass
class Server:
    """Answers with at most `page` newest candles of those it has, the forming one and holes among them."""

    ticks: list[int]
    page: int

    def chart(self, instrument: str, resolution: Resolution, start: int, end: int) -> tuple[Rows, Reply]:
        # the bucket that contains an unaligned start comes too
        found = [tick for tick in self.ticks if start - resolution.step_ms < tick <= end][-self.page :]
        result = {"status": "ok", "ticks": found, **{name: [1.5] * len(found) for name in VALUES}}
        return parse_chart(result, resolution, start, end), Reply(None, BASE, "simulator")


@dataclass(frozen=True)
class Case:
    """A market in one moment: its candles, when it was listed, what was loaded and what is wanted."""

    resolution: Resolution
    server: Server
    listed_ms: int
    now_ms: int
    cursor: Cursor
    time_range: tuple[int, int]
    lookback: int

    @property
    def series(self) -> Series:
        return Series("X", endpoint.candles(self.resolution), self.listed_ms, self.now_ms, self.cursor)

    def closed(self) -> list[int]:
        return [tick for tick in self.server.ticks if tick + self.resolution.step_ms <= self.now_ms]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    resolution = draw(st.sampled_from(sorted(RESOLUTIONS.values(), key=lambda r: r.step_ms)))
    step, anchor = resolution.step_ms, draw(st.sampled_from(resolution.anchors_ms))
    origin = BASE + anchor % step
    odd = st.sampled_from((0, 1, step // 2, step - 1)) | st.integers(0, step - 1)
    listed = BASE + draw(odd)
    now = listed + draw(st.integers(BUCKETS // 2, BUCKETS)) * step + draw(odd)
    # nobody knows where buckets of two anchors open; candles begin with the bucket of the listing
    first = (listed - origin) // step
    holes = draw(st.sets(st.integers(0, 2 * BUCKETS), max_size=25))
    ticks = [origin + n * step for n in range(first, (now - origin) // step + 1) if n not in holes]
    loaded = draw(st.none() | st.integers(0, BUCKETS))
    last = (
        None
        if loaded is None
        else min(resolution.floor(listed) + loaded * step, resolution.floor(now) - step)
    )
    last = None if last is not None and last < resolution.floor(listed) else last
    spans = draw(st.lists(st.tuples(st.integers(0, BUCKETS), st.integers(1, 12)), max_size=4))
    bound = resolution.closed_end(now) if last is None else last
    owed = [
        (resolution.floor(listed) + a * step, resolution.floor(listed) + (a + n) * step) for a, n in spans
    ]
    owed = [(start, min(end, bound)) for start, end in owed if start < bound]
    start = listed + draw(st.integers(-5, BUCKETS // 2)) * step + draw(odd)
    length = draw(st.integers(0, BUCKETS)) * step + draw(odd)
    return Case(
        resolution,
        Server(ticks, draw(st.integers(2, 14))),
        listed,
        now,
        Cursor(last, tuple(merge(owed))),
        (start, start + length),
        draw(st.integers(0, 8) | st.just(2 * BUCKETS)),
    )


@pytest.fixture(scope="module", autouse=True)
def short_windows():
    """Plan windows of a few buckets, so that small histories have many borders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endpoint, "CANDLES_PER_WINDOW", LONGEST_WINDOW)
        yield


def brought(case: Case, plan: list[Window]) -> list[int]:
    """Return the ticks of all answers to a plan, window by window."""
    for room in (5, 20):  # less than a window, and more
        loads = list(packages(plan, room))
        assert [window for load in loads for window in load] == plan
        sizes = [[window.buckets for window in load] for load in loads]
        assert all(0 < sum(load) <= room or len(load) == 1 for load in sizes)
        assert all(sum(load) + following[0] > room for load, following in itertools.pairwise(sizes))
    earliest = earliest_start(case.series)
    assert all(0 < window.buckets <= LONGEST_WINDOW and window.start_ms >= earliest for window in plan)
    found: list[int] = []
    for window in plan:
        result = fetch_window(case.server, window, case.listed_ms)
        spoken_for = merge((fetch.start_ms, fetch.end_ms) for fetch in result.fetches)
        assert spoken_for == [(window.start_ms, window.end_ms)]
        ticks = result.rows["timestamp"].cast("int64").to_pylist()
        assert ticks == sorted(ticks)
        found += ticks
    return found


def inside(tick: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(start <= tick < end for start, end in ranges)


@given(cases())
@settings(max_examples=EXAMPLES)
def test_a_range_and_what_is_owed_come_exactly_once_and_the_forming_candle_never(case):
    plan = plan_range(case.series, case.time_range)
    due = (case.time_range, *case.cursor.owed)
    assert sorted(brought(case, plan)) == [tick for tick in case.closed() if inside(tick, due)]


@given(cases())
@settings(max_examples=EXAMPLES)
def test_an_update_brings_everything_after_the_cursor_and_what_is_owed_exactly_once(case):
    plan = plan_update(case.series, case.lookback)
    found = brought(case, plan)
    assert len(found) == len(set(found))
    assert set(found) <= set(case.closed())
    last, first_owed = case.cursor.last_ms, case.cursor.owed[0][0] if case.cursor.owed else 0
    since = first_owed if last is None else case.resolution.floor(last) + case.resolution.step_ms
    due = ((since, case.now_ms), *case.cursor.owed)
    assert set(found) >= {tick for tick in case.closed() if inside(tick, due)}
    result = [(window.start_ms, window.end_ms) for window in plan]
    assert subtract(case.cursor.owed, result) == []
