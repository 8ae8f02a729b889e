"""The token bucket under a clock of its own."""

from __future__ import annotations

import threading

import pytest

from extract.deribit.budget import MAX_BURST, TokenBucket


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lock = threading.Lock()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.now += seconds


def bucket(rate: float = 20, burst: int = 20) -> tuple[TokenBucket, Time]:
    time = Time()
    return TokenBucket(rate, burst, time.clock, time.sleep), time


def test_never_more_than_the_burst_plus_the_rate():
    budget, time = bucket(rate=20, burst=20)
    sent = []
    for _ in range(400):
        budget.take()
        sent.append(time.now)
    for at, start in enumerate(sent):
        for window in (0.5, 1, 5):
            within = sum(start <= moment < start + window for moment in sent[at:])
            assert within <= 20 + 20 * window + 1e-6
    assert time.now == pytest.approx((400 - 20) / 20)


def test_a_quiet_time_gives_the_burst_back_and_no_more():
    budget, time = bucket(rate=10, burst=5)
    for _ in range(5):
        budget.take()
    time.sleep(1000)
    before = time.now
    for _ in range(6):
        budget.take()
    assert time.now - before == pytest.approx(0.1)


def test_the_burst_is_capped_at_deribits_pool():
    assert TokenBucket(20, 10_000).burst == MAX_BURST


def test_told_too_fast_it_halves_and_recovers():
    budget, time = bucket()
    budget.too_fast()
    assert budget.rate == 10
    before = time.now
    budget.take()
    assert time.now - before == pytest.approx(0.1)
    for _ in range(26):
        budget.answered()
    assert budget.rate == 20


def test_refusals_of_requests_sent_together_count_once():
    budget, time = bucket()
    for _ in range(8):
        budget.too_fast()
    assert budget.rate == 10
    time.sleep(1.5)
    budget.too_fast()
    assert budget.rate == 5


@pytest.mark.parametrize(("rate", "slowest"), [(20, 0.5), (0.1, 0.1)])
def test_it_never_stops_altogether_nor_goes_faster_than_it_may(rate, slowest):
    budget, time = bucket(rate, 1)
    for _ in range(50):
        budget.too_fast()
        time.sleep(2)
    assert budget.rate == slowest


@pytest.mark.parametrize(("asked", "least", "most"), [(7, 7, 8), (7200, 60, 130)])
def test_everybody_waits_as_long_as_the_server_asked_but_not_for_hours(asked, least, most):
    budget, time = bucket()
    budget.too_fast(retry_after=asked)
    budget.take()
    assert least <= time.now < most


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        TokenBucket(0)
