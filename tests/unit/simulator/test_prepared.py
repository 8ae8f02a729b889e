"""Prepared replies: byte for byte what the simulator computes, wherever the window lies."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extract.simulator import SimulatorConfig
from extract.simulator.candles import MINUTE_MS
from extract.simulator.clock import Clock
from extract.simulator.credits import Credits
from extract.simulator.faultbook import FaultBook
from extract.simulator.faultparsing import parse_faults
from extract.simulator.listings import DEFAULT
from extract.simulator.market import Market
from extract.simulator.prepared import PreparedMinutes, prepare
from extract.simulator.server import build
from extract.simulator.simulator import Simulator
from extract.simulator.view import MAX_ROWS

MARKET = Market(instruments=DEFAULT[:2])
BTC, ETH = MARKET.listings
LISTED = MARKET.listings[BTC].created_ms
CLOCK = LISTED + 12_000 * MINUTE_MS + 7_000
CLOSED = CLOCK // MINUTE_MS * MINUTE_MS
FOUND: list[tuple[int, int]] = []


class Noted(PreparedMinutes):
    """Prepared minutes that note what they answer."""

    def result(self, start_ms, end_ms, now_ms, limit):
        found = super().result(start_ms, end_ms, now_ms, limit)
        if found:
            FOUND.append((start_ms, end_ms))
        return found


PREPARED = {name: Noted(**vars(minutes)) for name, minutes in prepare(MARKET, (BTC,), CLOCK).items()}


def body(prepared: bool, start: int, end: int, resolution: str = "1", now: int = CLOCK, *faults: dict) -> str:
    """Return a reply's body without the times at which it was answered."""
    given = PREPARED if prepared else None
    book = FaultBook(parse_faults(list(faults)))
    simulator = Simulator(MARKET, Clock(now), Credits(None), book, prepared=given)
    window = {"start_timestamp": str(start), "end_timestamp": str(end)}
    asked = {"instrument_name": BTC, "resolution": resolution, **window}
    answer = simulator.answer("get_tradingview_chart_data", asked)
    assert answer.status == 200
    served = simulator.log[-1]
    return f"{served.rows} " + re.sub(r'"us(Out|Diff)":\d+', "", answer.body.decode())


def answered_from_text(*arguments) -> bool:
    FOUND.clear()
    assert body(True, *arguments) == body(False, *arguments)
    return bool(FOUND)


@settings(max_examples=60, deadline=None)
@given(
    first=st.integers(LISTED - 2 * MINUTE_MS, CLOCK + 2 * MINUTE_MS),
    length=st.one_of(st.integers(-MINUTE_MS, 5 * MINUTE_MS), st.integers(0, 13_000 * MINUTE_MS)),
    now=st.one_of(st.just(CLOCK), st.integers(LISTED, CLOCK + 3 * MINUTE_MS)),
)
@example(first=LISTED, length=0, now=CLOCK)
@example(first=0, length=LISTED - 1, now=CLOCK)
def test_the_body_of_any_window_is_the_computed_one(first, length, now):
    assert body(True, first, first + length, "1", now) == body(False, first, first + length, "1", now)


@pytest.mark.parametrize("rows", [1, 2, MAX_ROWS - 1, MAX_ROWS, MAX_ROWS + 1])
@pytest.mark.parametrize("end", [CLOSED - 1, CLOSED - MINUTE_MS, CLOSED - 3_000 * MINUTE_MS])
def test_closed_minutes_are_answered_from_the_text(rows, end):
    assert answered_from_text(end - (rows - 1) * MINUTE_MS, end)


def test_the_first_minute_is_answered_from_the_text_and_nothing_before_listing():
    assert answered_from_text(0, LISTED + 100 * MINUTE_MS)
    assert not answered_from_text(0, LISTED - MINUTE_MS)


@pytest.mark.parametrize(
    "arguments",
    [
        (CLOSED - 9 * MINUTE_MS, CLOSED),
        (CLOSED - 9 * MINUTE_MS, CLOCK + MINUTE_MS),
        (LISTED, LISTED + 600 * MINUTE_MS, "60"),
        (LISTED, LISTED + 9 * MINUTE_MS, "1", LISTED + 5 * MINUTE_MS),
        (CLOSED - MINUTE_MS, CLOSED, "1", CLOSED + 2 * MINUTE_MS),
    ],
)
def test_forming_candles_bars_and_later_minutes_are_computed(arguments):
    assert not answered_from_text(*arguments)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_first", "rows": 2},
        {"kind": "outage", "start": CLOSED - 5 * MINUTE_MS, "end": CLOSED - 3 * MINUTE_MS},
        {"kind": "bad_candle", "instrument": BTC, "at": CLOSED - 5 * MINUTE_MS, "values": {"high": 1}},
    ],
)
def test_faults_show_in_prepared_minutes_too(fault):
    window = (CLOSED - 9 * MINUTE_MS, CLOSED - MINUTE_MS, "1", CLOCK)
    assert not answered_from_text(*window, fault)
    assert body(True, *window, fault) != body(True, *window)


def test_parts_rendered_by_several_processes_join_without_a_seam(monkeypatch):
    monkeypatch.setattr("extract.simulator.prepared.PART_MINUTES", 5_000)
    monkeypatch.setattr("extract.simulator.prepared._ALONE", 10_000)
    again = prepare(MARKET, (BTC,), CLOCK)[BTC]
    assert {name: bytes(column.text) for name, column in again.columns.items()} == {
        name: bytes(column.text) for name, column in PREPARED[BTC].columns.items()
    }
    assert all(
        (again.columns[name].begins == PREPARED[BTC].columns[name].begins).all() for name in again.columns
    )


def test_an_instrument_that_is_not_listed_yet_has_nothing_prepared():
    assert list(prepare(MARKET, (BTC, ETH), CLOCK)) == [BTC]


def test_a_configuration_prepares_what_it_names():
    simulator = build(SimulatorConfig(clock=str(CLOCK), prepare=()))
    assert set(simulator._prepared) == {BTC}
