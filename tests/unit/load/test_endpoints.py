"""Funding and settlements: when a row is there, what an update asks for, and how windows are fetched."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pytest

from extract.core.resolution import DAY_MS, HOUR_MS, MINUTE_MS, RESOLUTIONS
from extract.deribit.replies import Reply
from extract.deribit.rows import Rows, schema_of
from extract.deribit.settlements import Page
from extract.load.endpoint import FUNDING, SETTLEMENTS, Endpoint, candles
from extract.load.fetch import fetch_window
from extract.load.plan import LATE_MS, Cursor, Series, Window, plan_range, plan_update

AT = 1_704_096_000_000  # 2024-01-01 08:00
BOTH = pytest.mark.parametrize("endpoint", [FUNDING, SETTLEMENTS], ids=lambda found: found.table)


def series(endpoint: Endpoint, now_ms: int, last_ms: int | None, landed_to: int | None = None) -> Series:
    """Return a series since a hundred buckets before `AT`, landed up to its cursor or further."""
    start, step = AT - 100 * endpoint.resolution.step_ms, endpoint.resolution.step_ms
    end = landed_to if landed_to is not None else (last_ms or start) + step
    landed = ((start, end),) if end > start + step or last_ms is not None else ()
    return Series("X", endpoint, start, now_ms, Cursor(last_ms), landed=landed)


def spans(windows: list[Window]) -> list[tuple[int, int]]:
    return [(window.start_ms, window.end_ms) for window in windows]


@BOTH
def test_a_row_is_there_from_the_open_of_its_bucket_on(endpoint):
    step = endpoint.resolution.step_ms
    assert endpoint.end_ms(AT) == endpoint.end_ms(AT + step - 1) == AT + step
    assert endpoint.end_ms(AT - 1) == AT


@BOTH
def test_an_update_asks_once_a_bucket(endpoint):
    step = endpoint.resolution.step_ms
    whole = series(endpoint, AT, AT)
    assert plan_update(whole, lookback=3) == []
    assert plan_update(replace(whole, now_ms=AT + step - 1), lookback=3) == []
    due = plan_update(replace(whole, now_ms=AT + step), lookback=3)
    assert spans(due) == [(AT - 2 * step, AT + 2 * step)]
    assert all(window.forward for window in due)


@BOTH
def test_a_row_that_is_late_is_asked_for_again_for_a_few_minutes(endpoint):
    step = endpoint.resolution.step_ms
    late = series(endpoint, AT + LATE_MS - 1, AT - step, landed_to=AT + step)
    assert spans(plan_update(late, lookback=1)) == [(AT - step, AT + step)]
    assert plan_update(replace(late, now_ms=AT + LATE_MS), lookback=1) == []


@BOTH
def test_what_is_owed_is_asked_for_at_once(endpoint):
    step = endpoint.resolution.step_ms
    owed = replace(series(endpoint, AT, AT), cursor=Cursor(AT, ((AT - 50 * step, AT - 49 * step),)))
    assert (AT - 50 * step, AT - 49 * step) in spans(plan_update(owed, lookback=1))


@BOTH
def test_a_look_back_does_not_reach_before_what_was_asked_for(endpoint):
    step = endpoint.resolution.step_ms
    short = replace(series(endpoint, AT + step, AT), landed=((AT - step, AT + step),))
    assert spans(plan_update(short, lookback=10)) == [(AT - step, AT + 2 * step)]


@BOTH
def test_a_series_without_rows_is_not_asked_from_its_start_again(endpoint):
    step = endpoint.resolution.step_ms
    silent = series(endpoint, AT + step, None, landed_to=AT + step)
    assert spans(plan_update(silent, lookback=2)) == [(AT - step, AT + 2 * step)]


@BOTH
def test_a_first_update_begins_where_the_candles_do(endpoint):
    step = endpoint.resolution.step_ms
    begun = Series("X", endpoint, AT - 900 * step, AT + step, begins_ms=AT - 7 * step - 1)
    assert spans(plan_update(begun, lookback=2)) == [(AT - 7 * step, AT + 2 * step)]
    assert begun.end_ms == AT + 2 * step


def test_candles_are_always_due():
    minutes = candles(RESOLUTIONS["1"])
    whole = Series("X", minutes, AT - DAY_MS, AT, Cursor(AT - MINUTE_MS), landed=((AT - DAY_MS, AT),))
    assert plan_update(whole, lookback=1)


def test_what_ends_within_an_hour_or_day_has_its_last_row_at_the_end_of_that():
    ended = AT + 90 * MINUTE_MS
    hours = Series("X", FUNDING, AT, AT + 9 * DAY_MS, ended_ms=ended)
    assert hours.end_ms == AT + 3 * HOUR_MS
    assert replace(hours, endpoint=SETTLEMENTS).end_ms == AT + 2 * DAY_MS
    assert replace(hours, endpoint=candles(RESOLUTIONS["1"])).end_ms == ended
    assert replace(hours, now_ms=ended).end_ms == AT + 2 * HOUR_MS


@BOTH
def test_windows_are_on_the_grid_whatever_the_range(endpoint):
    step = endpoint.resolution.step_ms
    asked = plan_range(series(endpoint, AT + 9 * step, None), (AT - step + 1, AT + 5 * step - 1))
    assert spans(asked) == [(AT, AT + 5 * step - 1)]


class Exchange:
    """Answers from rows in memory, as FACTS says: the newest rows of a range, or a page of them."""

    def __init__(self, endpoint: Endpoint, times: list[int], most: int) -> None:
        self.endpoint, self.times, self.most = endpoint, sorted(times), most
        self.hidden: set[int] = set()
        self.asked: list[tuple[int, ...]] = []

    def funding(self, _instrument: str, start_ms: int, end_ms: int) -> tuple[Rows, Reply]:
        self.asked.append((start_ms, end_ms))
        return self._rows([at for at in self.times if start_ms <= at <= end_ms][-self.most :])

    def settlements(self, _instrument: str, end_ms: int, after: Page | None) -> tuple[Page, Reply]:
        self.asked.append((end_ms,))
        before = end_ms + 1 if after is None else int(after.token or 0)
        times = [at for at in self.times if at < before][-self.most :]
        rows, reply = self._rows(times)
        return Page(rows, str(times[0]) if times else None), reply

    def _rows(self, times: list[int]) -> tuple[Rows, Reply]:
        told = [at for at in times if at not in self.hidden]
        self.hidden.clear()
        schema = schema_of(self.endpoint.values)
        table = pa.Table.from_pylist(
            [{"timestamp": at, **dict.fromkeys(self.endpoint.values, float(at))} for at in told],
            schema=schema,
        )
        return Rows(table), Reply(None, AT, "simulator")


def fetched(exchange: Exchange, buckets: int, listed_ms: int = AT):
    end_ms = AT + buckets * exchange.endpoint.resolution.step_ms
    return fetch_window(exchange, Window("X", AT, end_ms, exchange.endpoint), listed_ms)


def times_of(result) -> list[int]:
    return result.rows["timestamp"].cast("int64").to_pylist()


@BOTH
@pytest.mark.parametrize("most", [2, 7, 100])
def test_a_window_is_whole_however_many_rows_a_reply_has(endpoint, most):
    step, late = endpoint.resolution.step_ms, 700 if endpoint == SETTLEMENTS else 0
    times = [AT + n * step + late for n in range(-5, 20)]
    result = fetched(Exchange(endpoint, times, most), 15)
    assert times_of(result) == times[5:20]
    covered = sorted((fetch.start_ms, fetch.end_ms) for fetch in result.fetches)
    assert covered[0][0] == AT
    assert covered[-1][1] == AT + 15 * step
    assert all(one[1] == two[0] for one, two in pairwise(covered))
    assert sum(fetch.rows for fetch in result.fetches) == 15


@BOTH
def test_a_hole_is_asked_for_twice_and_filled_if_the_second_reply_has_the_row(endpoint):
    step = endpoint.resolution.step_ms
    exchange = Exchange(endpoint, [AT + n * step for n in range(-5, 20) if n != 3], 100)
    exchange.hidden = {AT + 9 * step}
    result = fetched(exchange, 15)
    assert times_of(result) == [AT + n * step for n in range(15) if n != 3]
    assert len([fetch for fetch in result.fetches if fetch.start_ms <= AT + 3 * step < fetch.end_ms]) == 2
    assert len({(fetch.start_ms, fetch.end_ms) for fetch in result.fetches}) == 2


@BOTH
def test_nothing_before_the_listing_is_one_request(endpoint):
    step = endpoint.resolution.step_ms
    exchange = Exchange(endpoint, [], 100)
    result = fetched(exchange, 15, listed_ms=AT + 15 * step)
    assert (len(exchange.asked), result.rows.num_rows) == (1, 0)
    assert [(fetch.start_ms, fetch.end_ms, fetch.rows) for fetch in result.fetches] == [
        (AT, AT + 15 * step, 0)
    ]


def test_a_settlement_that_is_hours_late_stays_in_its_day():
    late = AT + 3 * HOUR_MS
    result = fetched(Exchange(SETTLEMENTS, [AT - DAY_MS, late, AT + DAY_MS + 3], 100), 2)
    assert times_of(result) == [late, AT + DAY_MS + 3]
    assert len(result.fetches) == 1


def test_pages_newer_than_the_range_are_passed_over():
    times = [AT + n * DAY_MS for n in range(-3, 9)]
    exchange = Exchange(SETTLEMENTS, times, 2)
    answer = exchange.settlements
    ignored = AT + 99 * DAY_MS
    exchange.settlements = lambda name, _end_ms, after: answer(name, ignored, after)
    result = fetched(exchange, 3)
    assert times_of(result) == times[3:6]
    assert sorted((fetch.start_ms, fetch.end_ms) for fetch in result.fetches) == [
        (AT, AT + DAY_MS),
        (AT + DAY_MS, AT + 3 * DAY_MS),
    ]
