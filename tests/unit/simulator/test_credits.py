"""The rate limit of the simulator and its clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import UsageError
from extract.simulator.clock import Clock, parse_ms
from extract.simulator.credits import Credits


@given(
    rate=st.floats(0.5, 100),
    burst=st.integers(1, 200),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=400),
)
def test_never_more_than_the_burst_and_the_refill_is_admitted(rate, burst, pauses):
    moment = 0.0
    credits = Credits(rate, burst, now=lambda: moment)
    admitted = 0
    for pause in pauses:
        moment += pause
        admitted += credits.admits()
        assert admitted <= burst + rate * moment + 1e-6


def test_the_defaults_are_a_burst_of_100_then_20_a_second():
    moment = 0.0
    credits = Credits(now=lambda: moment)
    assert sum(credits.admits() for _ in range(150)) == 100
    assert credits.seconds_to_next() == pytest.approx(0.05)
    moment = 1.0
    assert sum(credits.admits() for _ in range(150)) == 20
    moment = 1000.0
    assert sum(credits.admits() for _ in range(150)) == 100


def test_a_frozen_clock_stands_still_until_it_is_moved():
    clock = Clock(1000)
    assert (clock.now_ms(), clock.now_ms(), clock.frozen) == (1000, 1000, True)
    clock.advance(500)
    assert clock.now_ms() == 1500
    clock.set(10)
    assert clock.now_ms() == 10


def test_a_running_clock_runs_on_from_where_it_was_moved():
    clock = Clock()
    before = clock.now_ms()
    clock.advance(3_600_000)
    assert clock.now_ms() >= before + 3_600_000
    assert not clock.frozen


@pytest.mark.parametrize(
    "text",
    ["2024-07-01", "2024-07-01T00:00:00Z", "2024-07-01T02:00:00+02:00", "1719792000000", 1719792000000],
)
def test_times_are_iso_in_utc_or_milliseconds(text):
    assert parse_ms(text) == 1_719_792_000_000


@pytest.mark.parametrize("text", ["yesterday", "", None, True, 1.5, "12"])
def test_other_times_are_refused(text):
    with pytest.raises(UsageError, match="expected since as an ISO time"):
        parse_ms(text, "since")
