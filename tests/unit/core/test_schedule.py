"""When a run that stays wakes, and what is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.core.resolution import DAY_MS, HOUR_MS
from extract.core.schedule import is_due, next_wake, parse_length
from extract.errors import UsageError

TIMES = st.integers(1_451_606_400_000, 4_102_444_800_000)


@pytest.mark.parametrize(
    ("text", "length_ms"),
    [
        ("60s", 60_000),
        ("60", 60_000),
        ("500ms", 500),
        ("+2s", 2_000),
        ("1.5s", 1_500),
        ("5m", 300_000),
        ("1h", HOUR_MS),
    ],
)
def test_a_length_has_a_unit_or_is_in_seconds(text: str, length_ms: int) -> None:
    assert parse_length(text, "--every", 1) == length_ms


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "1 s", "1e3s", "0.5s", "NaN", "٣s", "60S"])
def test_anything_else_and_what_is_too_short_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected at least 1s in --every, such as 60s or 5m, got "):
        parse_length(text, "--every", 1_000)


@given(TIMES, st.sampled_from([1_000, 60_000, 300_000]), st.integers(0, 999))
def test_the_next_wake_is_in_the_future_and_skips_what_an_overrun_missed(
    now_ms: int, every: int, delay: int
) -> None:
    wake = next_wake(now_ms, every, delay)
    assert now_ms < wake <= now_ms + every
    assert (wake - delay) % every == 0


@given(TIMES, TIMES)
def test_a_step_is_done_once_an_hour_or_day(done_ms: int, now_ms: int) -> None:
    assert is_due("hourly", done_ms, now_ms) == (done_ms // HOUR_MS != now_ms // HOUR_MS)
    assert is_due("daily", done_ms, now_ms) == (done_ms // DAY_MS != now_ms // DAY_MS)
    assert is_due("daily", None, now_ms) and not is_due("never", None, now_ms)
