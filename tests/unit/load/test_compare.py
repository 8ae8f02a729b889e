"""What of a package is new or changed, and where it may have been landed before."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.core.ranges import intersect
from extract.core.resolution import DAY_MS, MINUTE_MS, RESOLUTIONS
from extract.deribit.candles import SCHEMA, VALUES
from extract.deribit.errors import TransientError
from extract.load import endpoint
from extract.load.compare import FAR_MS, differences, islands, rows_to_take
from extract.load.fetch import Fetch, WindowResult
from extract.load.plan import Window
from extract.load.state import landed_after, landed_ranges

ONE = RESOLUTIONS["1"]
MINUTES = endpoint.candles(ONE)
NAN = math.nan
VALUE = st.sampled_from((None, NAN, 0.0, 1.5, math.inf))


def candles(**values: dict[int, float | None] | float) -> pa.Table:
    """Return candles by minute: `m3=1.5` opens at minute 3 with all values 1.5; a dictionary says some."""
    rows = []
    for name, value in values.items():
        given = value if isinstance(value, dict) else dict.fromkeys(VALUES, value)
        rows.append({"timestamp": int(name[1:]) * MINUTE_MS, **dict.fromkeys(VALUES, 1.0), **given})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def answered(start: int, end: int, came: pa.Table, at: int = 0, instrument: str = "X") -> WindowResult:
    window = Window(instrument, start * MINUTE_MS, end * MINUTE_MS, MINUTES)
    fetch = Fetch(window.start_ms, window.end_ms, came.num_rows, at, "simulator")
    return WindowResult(window, came, (fetch,))


def test_what_nobody_knows_is_new_and_what_is_told_differently_is_changed():
    new, changed = differences(candles(m1=1.0, m2=2.0, m4=4.0), candles(m0=0.0, m1=1.0, m2=9.0))
    assert (new.tolist(), changed.tolist()) == ([False, False, True], [False, True, False])


def test_everything_is_new_where_nothing_is_known():
    for known in (None, SCHEMA.empty_table()):
        new, changed = differences(candles(m1=1.0, m2=NAN), known)
        assert new.all() and not changed.any()


@pytest.mark.parametrize("column", VALUES)
def test_every_value_column_counts(column):
    assert differences(candles(m1={column: 2.0}), candles(m1=1.0))[1].tolist() == [True]


@given(VALUE, VALUE)
def test_nan_equals_nan_and_null_equals_null_and_they_differ(one, other):
    changed = differences(candles(m1={"volume": one}), candles(m1={"volume": other}))[1]
    assert changed.tolist() == [repr(one) != repr(other)]


def test_of_windows_that_overlap_the_answer_that_came_last_counts():
    early = answered(0, 3, candles(m0=1.0, m1=1.0, m2=1.0), at=7)
    late = answered(2, 5, candles(m3=2.0), at=8)
    later = answered(1, 4, candles(m1=3.0, m2=3.0, m3=3.0), at=9)
    other = answered(0, 5, candles(m1=1.0), at=9, instrument="Y")
    taken = [take.tolist() for take in rows_to_take([early, other, late, later])]
    assert taken == [[True, False, False], [True], [False], [True, True, True]]


@given(st.lists(st.tuples(st.integers(0, 20), st.sets(st.integers(0, 9))), min_size=1, max_size=6))
def test_a_load_holds_each_candle_once_whatever_overlaps(windows):
    answers = [
        answered(start, start + 10, candles(**{f"m{start + n}": float(at) for n in sorted(minutes)}), at=at)
        for at, (start, minutes) in enumerate(windows)
    ]
    taken: dict[int, float] = {}
    for answer, take in zip(answers, rows_to_take(answers), strict=True):
        for row in answer.rows.filter(pa.array(take)).to_pylist():
            assert taken.setdefault(row["timestamp"], row["open"]) is row["open"]
    told = {row["timestamp"]: row["open"] for answer in answers for row in answer.rows.to_pylist()}
    assert taken == told


def test_times_far_apart_are_looked_up_apart():
    near, far = (5 * DAY_MS, 6 * DAY_MS), (6 * DAY_MS + FAR_MS + 1, 99 * DAY_MS)
    assert islands([far, (0, DAY_MS), near]) == [(0, 6 * DAY_MS), far]
    assert islands([]) == []


def test_only_answered_windows_may_have_been_landed():
    failed = WindowResult(Window("X", 0, MINUTE_MS, MINUTES), error=TransientError("no"))
    landed = landed_after(
        {"candles X 1": [[0, 5]]}, [failed, answered(1, 3, candles()), answered(3, 4, candles())]
    )
    assert landed == {"candles X 1": [[0, 5], [MINUTE_MS, 4 * MINUTE_MS]]}
    state = {"sources": {"deribit": {"landed": landed | {"candles X 1D": [[7, 8]]}}}}
    assert landed_ranges(state, "X", endpoint.candles(RESOLUTIONS["1D"])) == ((7, 8),)
    assert landed_ranges({}, "X", MINUTES) == ()


def test_only_what_windows_and_landed_times_share_is_looked_up():
    assert intersect([(0, 5), (8, 9), (3, 6)], [(4, 8), (20, 30)]) == [(4, 6)]
    assert intersect([(0, 5)], []) == []
