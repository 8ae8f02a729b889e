"""Hourly funding: shaped like recorded rows, and the same however it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extract.simulator.candles import HOUR_MS, MINUTE_MS
from extract.simulator.clock import Clock
from extract.simulator.credits import Credits
from extract.simulator.faultbook import FaultBook
from extract.simulator.faultparsing import parse_faults
from extract.simulator.funding import FIRST_INVERSE_MS, HOLE_MS
from extract.simulator.market import Market
from extract.simulator.simulator import Simulator

BTC, LINEAR = "BTC-PERPETUAL", "ETH_USDC-PERPETUAL"
NOW = 1_795_170_030_000  # 2026-11-20T10:20:30Z
HOUR = 1_795_168_800_000  # the newest whole hour
MARKET = Market()
METHOD, VALUE = "get_funding_rate_history", "get_funding_rate_value"


def simulator(now_ms: int = NOW, *faults: dict[str, Any]) -> Simulator:
    return Simulator(MARKET, Clock(now_ms), Credits(None), FaultBook(parse_faults(list(faults))))


def asked(start: int, end: int, instrument: str = BTC, method: str = METHOD, **more: Any) -> Any:
    """Return the result of a request."""
    query = {"instrument_name": instrument, "start_timestamp": str(start), "end_timestamp": str(end)}
    return json.loads(simulator(**more).answer(method, query).body)["result"]


def everything(instrument: str, *faults: dict[str, Any]) -> list[dict[str, Any]]:
    return simulator(NOW, *faults).history().rows("funding", instrument, 0, NOW)


def stamps(rows: list[dict[str, Any]]) -> list[int]:
    return [row["timestamp"] for row in rows]


def eight_hours(rows: list[dict[str, Any]], inverse: bool) -> float:
    """Return interest_8h of the last of eight rows."""
    if not inverse:
        return sum(row["interest_1h"] for row in rows)
    first = rows[0]["prev_index_price"]
    return first * sum(row["interest_1h"] / row["prev_index_price"] for row in rows)


def recorded(shared: Path) -> list[list[dict[str, Any]]]:
    found = [json.loads(file.read_text()) for file in sorted((shared / "deribit/recorded/funding").iterdir())]
    assert len(found) == 3
    return [rows["result"] if isinstance(rows, dict) else rows for rows in found]


def test_recorded_rows_have_the_form_of_ours(shared: Path) -> None:
    ours = asked(HOUR - 4 * HOUR_MS, HOUR)
    for rows in recorded(shared):
        for row in rows:
            assert {name: type(value) for name, value in row.items()} == {
                name: type(value) for name, value in ours[0].items()
            }
        assert all(stamp % HOUR_MS == 0 for stamp in stamps(rows))
        assert [row["prev_index_price"] for row in rows[1:]] == [row["index_price"] for row in rows[:-1]]


def test_recorded_eight_hours_follow_the_formula(shared: Path) -> None:
    (rows,) = [rows for rows in recorded(shared) if len(rows) == 24]
    for last in range(8, 25):
        window = rows[last - 8 : last]
        assert eight_hours(window, inverse=True) == pytest.approx(window[-1]["interest_8h"], rel=1.8e-4)


@pytest.mark.parametrize("instrument", [BTC, LINEAR])
def test_eight_hours_follow_the_formula_and_prices_chain_also_across_the_hole(instrument: str) -> None:
    rows = everything(instrument)
    assert rows[0]["prev_index_price"] is None
    assert [row["prev_index_price"] for row in rows[1:]] == [row["index_price"] for row in rows[:-1]]
    for last in [*range(9, 100), *range(len(rows) - 100, len(rows) + 1)]:
        expected = eight_hours(rows[last - 8 : last], inverse=instrument == BTC)
        assert rows[last - 1]["interest_8h"] == pytest.approx(expected, rel=1e-9, abs=1e-18)


def test_the_start_is_exclusive_and_the_end_inclusive() -> None:
    at = HOUR - 48 * HOUR_MS
    assert stamps(asked(at, at + 2 * HOUR_MS)) == [at + HOUR_MS, at + 2 * HOUR_MS]
    assert stamps(asked(at - 1, at)) == [at]
    assert asked(at, at + HOUR_MS - 1) == []
    assert asked(at, at - HOUR_MS) == []


def test_a_longer_window_keeps_the_newest_744_rows() -> None:
    rows = asked(0, 2**50)
    assert stamps(rows) == list(range(HOUR - 743 * HOUR_MS, HOUR + 1, HOUR_MS))


def test_a_row_is_the_same_in_every_window() -> None:
    rows = {row["timestamp"]: row for row in everything(BTC)}
    for start in (FIRST_INVERSE_MS - 5 * HOUR_MS, HOLE_MS[0] - 3 * HOUR_MS, HOUR - 900 * HOUR_MS):
        for row in asked(start, start + 20 * HOUR_MS):
            assert row == rows[row["timestamp"]]


def test_an_hour_has_a_row_as_soon_as_it_is_over() -> None:
    assert stamps(asked(HOUR - 1, HOUR + HOUR_MS, now_ms=HOUR - 1)) == []
    assert stamps(asked(HOUR - 1, HOUR + HOUR_MS, now_ms=HOUR)) == [HOUR]


def test_history_begins_in_2019_or_with_the_listing() -> None:
    assert stamps(everything(BTC))[0] == FIRST_INVERSE_MS
    created = MARKET.listings[LINEAR].created_ms
    assert 0 < stamps(everything(LINEAR))[0] - created <= HOUR_MS
    assert asked(0, created, LINEAR) == []


def test_only_the_two_hours_of_the_outage_lack() -> None:
    found = stamps(everything(BTC))
    every = range(found[0], HOUR + 1, HOUR_MS)
    assert sorted(set(every) - set(found)) == list(HOLE_MS)


@pytest.mark.parametrize("instrument", sorted(MARKET.listings))
def test_rates_are_small_with_runs_of_zeros_and_tiny_ones(instrument: str) -> None:
    rates = np.array([row["interest_1h"] for row in everything(instrument)])
    zero = rates == 0
    assert 0.12 < zero.mean() < 0.26
    assert zero.sum() > 5 * (np.diff(zero.astype(int)) == 1).sum()
    assert not np.signbit(rates[zero]).any()
    assert np.abs(rates).max() < 0.005
    for sign in (1, -1):
        assert ((sign * rates > 0) & (sign * rates < 1e-8)).any()


@pytest.mark.parametrize("instrument", sorted(MARKET.listings))
def test_the_index_is_near_the_close_of_its_hour(instrument: str) -> None:
    rows = asked(HOUR - 200 * HOUR_MS, HOUR, instrument)
    minutes = MARKET.minutes(instrument, rows[0]["timestamp"] - MINUTE_MS, HOUR)
    for row in rows:
        close = float(minutes.close[np.searchsorted(minutes.ticks, row["timestamp"] - MINUTE_MS)])
        assert row["index_price"] == pytest.approx(close, rel=0.005)


def test_the_value_adds_the_rows_of_the_window_however_many() -> None:
    for instrument, hours in ((BTC, 5), (LINEAR, 24), (BTC, 5_000)):
        start = HOUR - hours * HOUR_MS
        rows = [row for row in everything(instrument) if row["timestamp"] > start]
        expected = sum(row["interest_1h"] for row in rows)
        assert asked(start, HOUR, instrument, VALUE) == pytest.approx(expected, rel=1e-9)
    assert asked(0, 1_000_000, BTC, VALUE) == 0.0


def test_a_delisted_perpetual_has_no_more_rows_until_it_is_listed_again() -> None:
    at, back = HOUR - 50 * HOUR_MS, HOUR - 20 * HOUR_MS
    left = {"kind": "delisted", "instrument": BTC, "at": at}
    assert stamps(everything(BTC, left))[-1] == at
    found = stamps(everything(BTC, left, {"kind": "relisted", "instrument": BTC, "at": back}))
    assert [stamp for stamp in found if stamp > at] == list(range(back + HOUR_MS, HOUR + 1, HOUR_MS))


@pytest.mark.parametrize("method", [METHOD, VALUE])
@pytest.mark.parametrize(
    ("changed", "param", "reason"),
    [
        ({"instrument_name": "X-PERPETUAL"}, "instrument_name", "instrument not found"),
        ({"instrument_name": ""}, "instrument_name", "required parameter is missing"),
        ({"start_timestamp": ""}, "start_timestamp", "required parameter is missing"),
        ({"end_timestamp": "soon"}, "end_timestamp", "value must be an integer"),
    ],
)
def test_a_wrong_parameter_is_refused_like_that_of_a_chart(
    method: str, changed: dict[str, str], param: str, reason: str
) -> None:
    query = {"instrument_name": BTC, "start_timestamp": "0", "end_timestamp": "1", **changed}
    answer = simulator().answer(method, query)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (400, -32602)
    assert error["data"] == {"param": param, "reason": reason}
