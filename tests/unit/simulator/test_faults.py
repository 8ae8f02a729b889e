"""Faults: how they are written, whom they hit, what they do to a result."""

from __future__ import annotations

import copy
import json

import numpy as np
import orjson
import pytest

from extract.errors import UsageError
from extract.simulator import faults
from extract.simulator.distort import distort
from extract.simulator.faultbook import Asked, FaultBook
from extract.simulator.faultparsing import parse_faults
from extract.simulator.faults import KINDS, Http
from extract.simulator.market import Market
from extract.simulator.marketfaults import Outage
from extract.simulator.methods import CHART
from extract.simulator.reply import chart

BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
T = 1_704_067_200_000  # 2024-01-01T00:00:00Z


def asked(instrument: str = BTC, start: int = T, end: int = T + 1000, resolution: str = "1") -> Asked:
    return Asked(CHART, instrument, resolution, start, end)


def hits(book: FaultBook, request: Asked, times: int) -> list[bool]:
    return [bool(book.due(request)) for _ in range(times)]


def book(**fault) -> FaultBook:
    return FaultBook(parse_faults([{"kind": "reset", **fault}]))


def test_times_are_read_as_utc_and_the_rest_as_written():
    fault = {
        "kind": "http",
        "status": 502,
        "html": True,
        "times": 2,
        "instrument": BTC,
        "start": "2024-01-01",
    }
    assert parse_faults([fault]) == (Http(instrument=BTC, start=T, times=2, status=502),)
    assert parse_faults([{"kind": "outage", "start": T, "end": "2024-01-01T00:01:00Z"}]) == (
        Outage(start=T, end=T + 60_000),
    )


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ({}, "expected a JSON list"),
        (["x"], "got None"),
        ([{"kind": "http"}, {"kind": "nope"}], "fault 1"),
        ([{"kind": "http", "code": 1}], "got code"),
        ([{"kind": "outage", "start": T}], "got no end"),
        ([{"kind": "http", "status": "502"}], "status of fault 0 as int"),
        ([{"kind": "http", "status": None}], "status of fault 0 as int"),
        ([{"kind": "http", "times": True}], "times of fault 0 as int"),
        ([{"kind": "http", "start": "soon"}], "start of fault 0 as an ISO time"),
        ([{"kind": "unequal", "column": "price"}], "column of fault 0"),
        ([{"kind": "bad_candle", "instrument": BTC, "at": T, "values": {"price": 1}}], "values of fault 0"),
        ([{"kind": "bad_candle", "instrument": BTC, "at": T, "values": {"open": "x"}}], "values of fault 0"),
        ([{"kind": "bad_candle", "instrument": BTC, "at": T, "values": {}}], "values of fault 0"),
        ([{"kind": "bad_row", "column": "close"}], "column of fault 0"),
        ([{"kind": "value", "column": "position"}], "column of fault 0"),
        ([{"kind": "row_revision", "instrument": BTC, "at": T, "values": {"open": 1}}], "values of fault 0"),
    ],
)
def test_a_wrong_fault_is_refused_in_one_line_that_names_it(items, said):
    with pytest.raises(UsageError, match=said) as caught:
        parse_faults(items)
    assert "\n" not in str(caught.value)


def test_skip_and_times_choose_among_the_matching_requests():
    assert hits(book(skip=1, times=2), asked(), 5) == [False, True, True, False, False]


def test_skip_and_times_can_count_for_every_window_by_itself():
    fault = book(times=1, per_window=True)
    first, second = asked(), asked(start=T + 5, end=T + 6)
    assert [bool(fault.due(request)) for request in (first, second, first, second)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_fault_hits_its_instrument_and_resolution_only():
    assert hits(book(instrument=BTC), asked(ETH), 1) == [False]
    assert hits(book(instrument=BTC), asked(BTC), 1) == [True]
    assert hits(book(resolution="60"), asked(), 1) == [False]


@pytest.mark.parametrize(
    ("start", "end", "hit"),
    [
        (T - 9, T - 1, False),
        (T - 9, T, True),
        (T + 50, T + 60, True),
        (T + 99, T + 200, True),
        (T + 100, T + 200, False),
    ],
)
def test_a_time_range_matches_windows_that_overlap_it_and_excludes_its_end(start, end, hit):
    assert hits(book(start=T, end=T + 100), asked(start=start, end=end), 1) == [hit]


def test_other_methods_are_hit_only_when_named():
    assert hits(book(), Asked("get_instruments"), 1) == [False]
    assert hits(book(method="get_instruments"), Asked("get_instruments"), 1) == [True]
    assert hits(book(method="any"), Asked("status"), 1) == [True]
    assert hits(book(method="any", start=T), Asked("status"), 1) == [False]


def test_probability_draws_are_the_same_in_any_order_of_requests():
    requests = [asked(start=T + n, end=T + n + 1) for n in range(300)]
    one, other = book(probability=0.3), book(probability=0.3)
    drawn = {request: bool(one.due(request)) for request in requests}
    assert {request: bool(other.due(request)) for request in reversed(requests)} == drawn
    assert 0.2 < np.mean(list(drawn.values())) < 0.4
    retried = hits(one, requests[0], 60)
    assert len(set(retried)) == 2


def test_replacing_the_faults_starts_their_counts_again():
    once = parse_faults([{"kind": "reset", "times": 1}])
    fault = FaultBook(once)
    assert hits(fault, asked(), 2) == [True, False]
    fault.replace(once)
    assert hits(fault, asked(), 2) == [True, False]
    fault.replace(())
    assert hits(fault, asked(), 1) == [False]


def test_a_result_without_the_row_stays_as_it_is():
    empty = chart(Market().minutes(BTC, 0, 1), BTC)
    due = FaultBook(parse_faults([{"kind": "duplicate_tick"}, {"kind": "value"}, {"kind": "off_grid"}])).due(
        asked()
    )
    assert distort(copy.deepcopy(empty), due) == empty


def test_values_of_the_market_that_are_not_finite_are_written_bare():
    values = {"open": "NaN", "high": "1e400", "low": "-1e400"}
    bad = {"kind": "bad_candle", "instrument": BTC, "at": T, "values": values}
    change = FaultBook(parse_faults([bad])).adjust(T, Market())
    text = orjson.dumps(chart(change(BTC, Market().minutes(BTC, T, T)), BTC)).decode()
    assert '"open":[NaN]' in text and '"high":[1e400]' in text and '"low":[-1e400]' in text
    assert json.loads(text)["high"] == [float("inf")]


def test_every_kind_is_explained_where_faults_are_written():
    assert all(f"{kind}:" in faults.__doc__ for kind in KINDS)
