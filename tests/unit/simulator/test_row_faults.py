"""Faults of funding and settlements: what they do to a reply, and that they leave charts alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extract.simulator.clock import Clock
from extract.simulator.credits import Credits
from extract.simulator.faultbook import FaultBook
from extract.simulator.faultparsing import parse_faults
from extract.simulator.market import Market
from extract.simulator.simulator import Simulator
from extract.simulator.wire import Response

FUNDING, VALUE = "get_funding_rate_history", "get_funding_rate_value"
SETTLEMENTS, CHART = "get_last_settlements_by_instrument", "get_tradingview_chart_data"
ALL = (FUNDING, VALUE, SETTLEMENTS)
BTC, HOUR, DAY = "BTC-PERPETUAL", 3_600_000, 86_400_000
NOW = 1_795_168_800_000  # 2026-11-20T10:00:00Z
MARKET = Market()
QUERIES: dict[str, dict[str, str]] = {
    **{
        name: {"start_timestamp": str(NOW - 10 * HOUR), "end_timestamp": str(NOW)}
        for name in (FUNDING, VALUE)
    },
    SETTLEMENTS: {"count": "10", "type": "settlement"},
    CHART: {"start_timestamp": str(NOW - HOUR), "end_timestamp": str(NOW), "resolution": "1"},
}


def simulator(*faults: dict[str, Any], now_ms: int = NOW) -> Simulator:
    return Simulator(MARKET, Clock(now_ms), Credits(None), FaultBook(parse_faults(list(faults))))


def ask(served: Simulator, method: str, **query: str) -> Response:
    return served.answer(method, {"instrument_name": BTC, **QUERIES[method], **query})


def result(served: Simulator, method: str, **query: str) -> Any:
    return json.loads(ask(served, method, **query).body)["result"]


def rows(method: str, *faults: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    found = result(simulator(*faults), method, **query)
    return found["settlements"] if method == SETTLEMENTS else found


@pytest.mark.parametrize("method", ALL)
def test_every_fault_of_the_wire_hits_the_method_that_it_names_and_no_other(method: str) -> None:
    whole = len(ask(simulator(), method).body)
    faults: dict[str, Any] = {
        "http": lambda answer: (answer.status, answer.body[:6]) == (502, b"<html>"),
        "error": lambda answer: json.loads(answer.body)["error"]["code"] == 10028,
        "reset": lambda answer: answer.reset,
        "truncated": lambda answer: len(answer.body) < whole * 0.7,
        "content_length": lambda answer: answer.promised == 64,
        "hang": lambda answer: answer.delay == 3600,
    }
    for kind, seen in faults.items():
        more = {"status": 502} if kind == "http" else {}
        served = simulator({"kind": kind, "method": method, **more})
        assert seen(ask(served, method)), kind
        for other in {*ALL, CHART} - {method}:
            answer = ask(served, other)
            assert (answer.status, answer.promised, answer.delay) == (200, 0, 0)
            json.loads(answer.body)
        assert ask(simulator({"kind": kind, **more}), method).status == 200
        assert seen(ask(simulator({"kind": kind, "method": "any", **more}), method))


@pytest.mark.parametrize("method", ALL)
def test_requests_are_limited_together_with_those_of_charts(method: str) -> None:
    served = Simulator(MARKET, Clock(NOW), Credits(0.001, 1))
    assert ask(served, CHART).status == 200
    answer = ask(served, method)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (429, 10028)


@pytest.mark.parametrize(
    ("method", "column", "value"),
    [
        (FUNDING, "timestamp", None),
        (FUNDING, "interest_1h", "1e-5"),
        (FUNDING, "index_price", None),
        (SETTLEMENTS, "timestamp", None),
        (SETTLEMENTS, "position", -1),
        (SETTLEMENTS, "mark_price", "x"),
    ],
)
@pytest.mark.parametrize("row", [0, 3, -1])
def test_a_bad_row_has_another_value(method: str, column: str, value: Any, row: int) -> None:
    good = rows(method)
    bad = rows(method, {"kind": "bad_row", "method": method, "column": column, "row": row, "value": value})
    good[row][column] = value
    assert bad == good


def test_a_bad_row_by_default_lacks_its_time_and_a_reply_without_the_row_stays() -> None:
    assert [row["timestamp"] is None for row in rows(FUNDING, {"kind": "bad_row"})] == [False] * 9 + [True]
    for unfit in ({"row": 10}, {"row": -11}, {"column": "position"}):
        assert rows(FUNDING, {"kind": "bad_row", **unfit}) == rows(FUNDING)
    bare = ask(simulator({"kind": "bad_row", "column": "interest_1h", "value": "NaN"}), FUNDING)
    assert b'"interest_1h":NaN' in bare.body


@pytest.mark.parametrize("method", [FUNDING, SETTLEMENTS])
def test_a_repeated_row_occurs_twice(method: str) -> None:
    good = rows(method)
    assert rows(method, {"kind": "repeated_row", "method": method, "row": 2}) == [*good[:3], *good[2:]]
    assert rows(method, {"kind": "repeated_row", "method": method}) == [*good, good[-1]]


@pytest.mark.parametrize("method", [FUNDING, SETTLEMENTS])
def test_rows_can_be_fewer(method: str) -> None:
    good = sorted(rows(method), key=lambda row: row["timestamp"])

    def left(**fault: Any) -> list[dict[str, Any]]:
        return sorted(rows(method, {"method": method, **fault}), key=lambda row: row["timestamp"])

    assert left(kind="drop_first", rows=2) == good[2:]
    assert left(kind="max_rows", rows=4) == good[-4:]
    assert left(kind="empty") == []


def test_a_smaller_page_is_continued_where_it_ends() -> None:
    served = simulator({"kind": "max_rows", "method": SETTLEMENTS, "rows": 4})
    page = result(served, SETTLEMENTS)
    following = result(served, SETTLEMENTS, continuation=page["continuation"])
    assert page["settlements"] + following["settlements"] == rows(SETTLEMENTS)[:8]


def test_looping_pages_repeat_for_as_long_as_they_are_asked() -> None:
    served = simulator({"kind": "looping_pages", "skip": 1})
    first = result(served, SETTLEMENTS)
    second = result(served, SETTLEMENTS, continuation=first["continuation"])
    third = result(served, SETTLEMENTS, continuation=second["continuation"])
    assert first["settlements"] != second["settlements"] == third["settlements"]
    assert second["continuation"] != third["continuation"]


def test_a_fault_of_a_time_range_hits_the_pages_that_reach_into_it() -> None:
    fault = {"kind": "bad_row", "method": SETTLEMENTS, "start": NOW - 15 * DAY, "end": NOW - 12 * DAY}
    served = simulator(fault)
    first = result(served, SETTLEMENTS)
    second = result(served, SETTLEMENTS, continuation=first["continuation"])
    bad = [any(row["timestamp"] is None for row in page["settlements"]) for page in (first, second)]
    assert bad == [False, True]


@pytest.mark.parametrize(
    ("method", "endpoint", "column"),
    [(FUNDING, "funding", "interest_1h"), (SETTLEMENTS, "settlements", "position")],
)
def test_a_revision_shows_in_replies_and_truth_from_its_time_on(
    method: str, endpoint: str, column: str
) -> None:
    at = rows(method)[-2]["timestamp"]
    fault = {"kind": "row_revision", "instrument": BTC, "at": at, "since": NOW, "values": {column: 7}}
    fault["method"] = method
    for now_ms, changed in ((NOW - 1, False), (NOW, True)):
        served = simulator(fault, now_ms=now_ms)
        found = result(served, method)
        told = found["settlements"] if method == SETTLEMENTS else found
        truth = served.history().rows(endpoint, BTC, at, at + 1)
        assert truth == [row for row in told if row["timestamp"] == at]
        assert (truth[0][column] == 7) == changed
    other = simulator(fault).history().rows(endpoint, "ETH-PERPETUAL", at - DAY, at + 1)
    assert all(row[column] != 7 for row in other)


def test_a_revision_of_funding_counts_in_the_value() -> None:
    fault = {"kind": "row_revision", "instrument": BTC, "at": NOW, "values": {"interest_1h": 1.0}}
    before = sum(row["interest_1h"] for row in rows(FUNDING)[:-1])
    assert result(simulator(fault), VALUE) == pytest.approx(1 + before)


def test_the_truth_is_half_open_and_equals_what_is_told() -> None:
    history = simulator().history()
    assert history.rows("funding", BTC, NOW - 9 * HOUR, NOW + 1) == rows(FUNDING)
    assert history.rows("funding", BTC, NOW - 9 * HOUR, NOW) == rows(FUNDING)[:-1]
    told = rows(SETTLEMENTS)[::-1]
    first, last = told[0]["timestamp"], told[-1]["timestamp"]
    assert history.rows("settlements", BTC, first, last + 1) == told
    assert history.rows("settlements", BTC, first, last) == told[:-1]


def test_draws_for_charts_are_those_of_before_funding() -> None:
    book = FaultBook(parse_faults([{"kind": "reset", "probability": 0.5}]), seed=7)
    served = Simulator(MARKET, Clock(NOW), Credits(None), book)
    drawn = "".join("x" if ask(served, CHART).reset else "." for _ in range(24))
    assert drawn == ".xx..x..x.x..x...x.x.x.."
