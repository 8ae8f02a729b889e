"""Windows answered by an exchange in memory: cut replies, holes, failures, order."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extract.core.ranges import merge
from extract.core.resolution import MINUTE_MS, RESOLUTIONS
from extract.deribit.candles import SCHEMA
from extract.deribit.errors import DeribitError, PermanentError, TransientError
from extract.deribit.replies import Reply
from extract.deribit.rows import Rows
from extract.load import endpoint
from extract.load.endpoint import FUNDING
from extract.load.fetch import WindowResult, fetch_window
from extract.load.plan import Window
from extract.load.prefetch import FAILURES_BEFORE_GIVING_UP, Prefetcher

ONE = RESOLUTIONS["1"]
MINUTES = endpoint.candles(ONE)
START = 1_704_067_200_000


class Exchange:
    """Answers charts from a set of minutes, at most `page` newest rows a reply."""

    def __init__(self, minutes, page: int = 5001) -> None:
        self.ticks = sorted(START + minute * MINUTE_MS for minute in minutes)
        self.page = page
        self.asked: list[tuple[int, int]] = []
        self.hidden_at_first: set[int] = set()
        self.fails_after: int | None = None

    def chart(self, instrument, resolution, start_ms, end_ms):
        if len(self.asked) == self.fails_after:
            raise TransientError("no")
        hidden = set() if self.asked else self.hidden_at_first
        self.asked.append((start_ms, end_ms))
        ticks = [tick for tick in self.ticks if start_ms <= tick <= end_ms and tick not in hidden]
        ticks = ticks[-self.page :]
        columns = [pa.array(ticks, pa.int64()).cast(SCHEMA.field("timestamp").type)]
        columns += [pa.array([float(tick) for tick in ticks])] * 6
        return Rows(pa.Table.from_arrays(columns, schema=SCHEMA)), Reply(None, START, "simulator")


def window(start: int, end: int) -> Window:
    return Window("X", START + start * MINUTE_MS, START + end * MINUTE_MS, MINUTES)


def minutes_of(result: WindowResult) -> list[int]:
    return [(tick.value - START) // MINUTE_MS for tick in result.rows["timestamp"]]


@given(
    st.sets(st.integers(-9, 120)),
    st.integers(2, 60),
    st.integers(0, 50),
    st.integers(1, 60),
    st.integers(-20, 130),
)
@example({*range(8), 10}, 8, 9, 3, 0)  # cut first where the middle is
def test_a_window_is_answered_whole_whatever_the_page_size(minutes, page, start, length, listed):
    exchange = Exchange(minutes, page)
    asked = window(start, start + length)
    result = fetch_window(exchange, asked, START + listed * MINUTE_MS)
    present = {minute for minute in minutes if start <= minute < start + length}
    assert minutes_of(result) == sorted(present)
    evidence = [(fetch.start_ms, fetch.end_ms) for fetch in result.fetches]
    assert merge(evidence) == [(asked.start_ms, asked.end_ms)]
    if page > length + 4 and length > 1:  # no reply is cut: each hole has two asks that differ
        missing = set(range(max(start, listed), start + length)) - present
        assert all(len({e for e in evidence if covers(e, minute)}) > 1 for minute in missing)
        assert len(exchange.asked) <= 5  # however many holes there are


@given(st.sets(st.integers(-9, 120), max_size=40), st.sets(st.integers(0, 59)), st.integers(2, 60))
def test_what_any_reply_brings_is_kept_with_the_value_that_came_first(hidden, absent, page):
    exchange = Exchange(set(range(-9, 120)) - absent, page)
    exchange.hidden_at_first = {START + minute * MINUTE_MS for minute in hidden}
    result = fetch_window(exchange, window(0, 60), START)
    found = minutes_of(result)
    assert found == sorted(set(found))
    assert set(found) <= set(range(60)) - absent
    assert result.rows.schema == SCHEMA
    if page > 64:
        assert len(exchange.asked) <= 5
        assert set(found) == set(range(60)) - absent


def covers(evidence: tuple[int, int], minute: int) -> bool:
    return evidence[0] <= START + minute * MINUTE_MS < evidence[1]


def test_a_whole_window_takes_one_request_that_begins_a_bucket_early():
    exchange = Exchange(range(-1, 5000))
    assert fetch_window(exchange, window(0, 5000), 0).rows.num_rows == 5000
    assert exchange.asked == [(START - MINUTE_MS, START + 5000 * MINUTE_MS - 1)]


def test_a_window_before_listing_is_answered_with_nothing_in_one_request():
    exchange = Exchange(range(9000, 9010))
    result = fetch_window(exchange, window(0, 5000), START + 5000 * MINUTE_MS)
    assert (result.rows.num_rows, len(exchange.asked)) == (0, 1)
    assert [fetch.rows for fetch in result.fetches] == [0]


def test_a_hole_is_asked_again_shifted_and_no_more():
    exchange = Exchange(set(range(-1, 5000)) - set(range(100, 112)))
    result = fetch_window(exchange, window(0, 5000), 0)
    assert exchange.asked[1:] == [(START + 93 * MINUTE_MS, START + 115 * MINUTE_MS - 1)]
    assert result.rows.num_rows == 4988
    assert [(fetch.start_ms - START, fetch.rows) for fetch in result.fetches] == [
        (0, 4988),
        (97 * MINUTE_MS, 6),
    ]


def test_a_second_ask_without_an_answer_fails_the_window():
    exchange = Exchange(range(100))
    exchange.fails_after = 1
    with pytest.raises(TransientError):
        fetch_window(exchange, window(0, 200), 0)


def test_answers_come_in_the_order_of_the_plan_and_only_so_far_ahead():
    started, gate = [], threading.Event()

    def fetch(asked: Window) -> WindowResult:
        started.append(asked)
        gate.wait(10)
        return WindowResult(asked)

    plan = [window(n, n + 1) for n in range(50)]
    with Prefetcher(fetch, plan, threads=4, ahead=8) as prefetcher:
        gate.set()
        first = prefetcher.take(1)
        assert len(started) <= 9
        assert [found.window for found in first + prefetcher.take(49)] == plan


def test_a_failed_window_does_not_stop_the_others():
    def fetch(asked: Window) -> WindowResult:
        if asked == window(3, 4):
            raise TransientError("no")
        return WindowResult(asked)

    with Prefetcher(fetch, [window(n, n + 1) for n in range(10)]) as prefetcher:
        answers = prefetcher.take(10)
    assert [found.window for found in answers if found.error] == [window(3, 4)]
    assert all(found.requested for found in answers)


def test_an_api_that_is_gone_is_given_up_for_good():
    calls = []

    def fetch(asked: Window) -> WindowResult:
        calls.append(asked)
        raise TransientError("gone")

    with Prefetcher(fetch, [window(n, n + 1) for n in range(500)], threads=4) as prefetcher:
        answers = prefetcher.take(500)
    assert FAILURES_BEFORE_GIVING_UP <= len(calls) < FAILURES_BEFORE_GIVING_UP + 4
    assert sum(found.requested for found in answers) == len(calls)
    assert all(found.error for found in answers)


def test_an_endpoint_that_is_gone_or_refused_does_not_keep_the_others_out():
    for error in (TransientError("gone"), PermanentError("unknown")):

        def fetch(asked: Window, error: DeribitError = error) -> WindowResult:
            if asked.endpoint == FUNDING:
                raise error
            return WindowResult(asked)

        hours = [Window("X", n, n + 1, FUNDING) for n in range(100)]
        minutes = [window(n, n + 1) for n in range(100)]
        with Prefetcher(fetch, hours + minutes, threads=4) as prefetcher:
            answers = prefetcher.take(200)
        assert all(found.error for found in answers[:100])
        assert not any(found.error for found in answers[100:])


def test_an_instrument_that_is_refused_is_not_asked_again():
    calls = []

    def fetch(asked: Window) -> WindowResult:
        calls.append(asked)
        if asked.instrument == "GONE":
            raise PermanentError("instrument not found")
        return WindowResult(asked)

    gone = [Window("GONE", n, n + 1, MINUTES) for n in range(100)]
    good = [window(n, n + 1) for n in range(3)]
    with Prefetcher(fetch, gone + good, threads=2, ahead=4) as prefetcher:
        answers = prefetcher.take(103)
    assert len(calls) < 10
    assert [found.error for found in answers[100:]] == [None] * 3


def test_a_failure_that_is_no_answer_is_not_swallowed():
    def fetch(asked: Window) -> WindowResult:
        raise ZeroDivisionError

    with Prefetcher(fetch, [window(0, 1)]) as prefetcher, pytest.raises(ZeroDivisionError):
        prefetcher.take(1)
