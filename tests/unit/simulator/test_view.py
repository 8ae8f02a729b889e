"""What a chart request shows: ends, the row limit, holes and the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.simulator.candles import MINUTE_MS, RESOLUTIONS, bucket_open
from extract.simulator.faultbook import FaultBook
from extract.simulator.faultparsing import parse_faults
from extract.simulator.market import Market
from extract.simulator.view import View

BTC = "BTC-PERPETUAL"
NOW = 1_719_792_026_700  # 2024-07-01T00:00:26.7Z
TICK = NOW // MINUTE_MS * MINUTE_MS
DAY = 1440 * MINUTE_MS
LISTED = 1_534_242_287_000 // MINUTE_MS * MINUTE_MS


def view(*faults, now: int = NOW) -> View:
    return View(Market(), now, FaultBook(parse_faults(list(faults))).adjust(now, Market()))


@given(
    resolution=st.sampled_from(["1", "5", "60", "1D"]),
    end=st.integers(LISTED - 3 * DAY, NOW + DAY) | st.integers(NOW - DAY, NOW + DAY),
    length=st.integers(-1, 5 * DAY),
)
@settings(max_examples=30, deadline=None)
def test_a_reply_has_the_newest_5001_buckets_from_the_one_of_its_start_to_its_end_or_now(
    resolution, end, length
):
    step = RESOLUTIONS[resolution]
    first = bucket_open(max(end - length, LISTED), resolution)
    expected = range(first, min(end, NOW) + 1, step)[-5001:]
    assert view().reply(BTC, resolution, end - length, end).ticks.tolist() == list(expected)


def test_the_last_candle_is_still_forming():
    formed = view(now=TICK + MINUTE_MS - 1).reply(BTC, "1", TICK, TICK)
    assert view().reply(BTC, "1", TICK, NOW).volume[-1] != formed.volume[0]


def test_a_hole_does_not_eat_into_the_row_limit():
    end = TICK - MINUTE_MS
    hole = {"kind": "outage", "start": end - 99 * MINUTE_MS, "end": end - 49 * MINUTE_MS}
    candles = view(hole).reply(BTC, "1", 0, end)
    assert len(candles) == 5001
    assert candles.ticks[0] == end - 5050 * MINUTE_MS
    assert np.all(np.diff(candles.ticks) > 0)
    assert np.diff(candles.ticks).max() == 51 * MINUTE_MS


def test_an_outage_applies_to_the_named_instrument_only():
    hole = {"kind": "outage", "instrument": BTC, "start": TICK - 10 * MINUTE_MS, "end": TICK - 5 * MINUTE_MS}
    window = ("1", TICK - 20 * MINUTE_MS, TICK - MINUTE_MS)
    assert len(view(hole).reply(BTC, *window)) == 15
    assert len(view(hole).reply("ETH-PERPETUAL", *window)) == 20


def test_the_truth_holds_closed_candles_only_and_ends_before_its_end():
    assert view().truth(BTC, "1", TICK - 2 * MINUTE_MS, NOW + 10**9).ticks.tolist() == [
        TICK - 2 * MINUTE_MS,
        TICK - MINUTE_MS,
    ]
    assert view().truth(BTC, "1", TICK - 2 * MINUTE_MS, TICK - MINUTE_MS).ticks.tolist() == [
        TICK - 2 * MINUTE_MS
    ]
    assert not len(view().truth(BTC, "60", TICK, TICK + 60 * MINUTE_MS))
    assert len(view().truth(BTC, "1", LISTED - 10**7, LISTED + 10**9)) == 16_667


def test_a_revision_changes_a_candle_from_its_time_on():
    tick = TICK - 3 * MINUTE_MS
    revision = {"kind": "revision", "instrument": BTC, "at": tick, "since": NOW, "values": {"close": 1.5}}
    before = View(Market(), NOW - 1, FaultBook(parse_faults([revision])).adjust(NOW - 1, Market()))
    assert before.truth(BTC, "1", tick, tick + 1).close[0] != 1.5
    assert view(revision).truth(BTC, "1", tick, tick + 1).close[0] == 1.5
    assert view(revision).reply(BTC, "1", tick, tick).close[0] == 1.5


def test_a_bad_candle_has_the_values_given_and_reaches_coarser_resolutions():
    tick = TICK - 60 * MINUTE_MS
    bad = {"kind": "bad_candle", "instrument": BTC, "at": tick, "values": {"high": 1, "volume": "NaN"}}
    minute = view(bad).truth(BTC, "1", tick, tick + 1)
    assert minute.high[0] == 1 < minute.low[0]
    assert np.isnan(minute.volume[0])
    assert np.isnan(view(bad).truth(BTC, "60", tick, tick + 1).volume[0])
    assert view(bad).reply("ETH-PERPETUAL", "1", tick, tick).high[0] != 1


@pytest.mark.parametrize("rows", [1, 7])
def test_a_smaller_limit_keeps_the_newest_rows(rows):
    assert view().reply(BTC, "1", 0, TICK - MINUTE_MS, rows).ticks.tolist() == [
        TICK - n * MINUTE_MS for n in range(rows, 0, -1)
    ]
