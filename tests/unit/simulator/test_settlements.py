"""Daily settlements: shaped like a recorded page, newest first, continued until the listing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extract.simulator.clock import Clock
from extract.simulator.credits import Credits
from extract.simulator.faultbook import FaultBook
from extract.simulator.faultparsing import parse_faults
from extract.simulator.market import Market
from extract.simulator.pages import ending, read_token, token
from extract.simulator.simulator import Simulator

METHOD = "get_last_settlements_by_instrument"
BTC, ETH, BNB, SOL = "BTC-PERPETUAL", "ETH-PERPETUAL", "BNB_USDC-PERPETUAL", "SOL_USDC-PERPETUAL"
NOW = 1_795_170_030_000  # 2026-11-20T10:20:30Z
HOUR, DAY = 3_600_000, 86_400_000
TODAY = NOW // DAY * DAY + 8 * HOUR
MARKET = Market()


def simulator(now_ms: int = NOW, *faults: dict[str, Any]) -> Simulator:
    return Simulator(MARKET, Clock(now_ms), Credits(None), FaultBook(parse_faults(list(faults))))


def asked(served: Simulator | None = None, /, **query: Any) -> Any:
    """Return the result or the error of a request, by default for BTC-PERPETUAL."""
    texts = {name: str(value) for name, value in {"instrument_name": BTC, **query}.items()}
    reply = json.loads((served or simulator()).answer(METHOD, texts).body)
    return reply.get("result", reply.get("error"))


def everything(instrument: str, *faults: dict[str, Any]) -> list[dict[str, Any]]:
    return simulator(NOW, *faults).history().rows("settlements", instrument, 0, NOW + 1)


def stamps(rows: list[dict[str, Any]]) -> list[int]:
    return [row["timestamp"] for row in rows]


def test_a_page_has_the_form_of_the_recorded_one(shared: Path) -> None:
    (file,) = (shared / "deribit/recorded/settlements").iterdir()
    real, ours = json.loads(file.read_text()), asked(count=5)
    for its, mine in ((real, ours), (real["settlements"][0], ours["settlements"][0])):
        assert {key: type(value) for key, value in its.items()} == {k: type(v) for k, v in mine.items()}
    for page in (real, ours):
        rows = page["settlements"]
        assert len(rows) == 5
        assert stamps(rows) == sorted(stamps(rows), reverse=True)
        assert all(0 < stamp % DAY - 8 * HOUR < 760 for stamp in stamps(rows))
        assert {row["type"] for row in rows} == {"settlement"}
    alphabet = set("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
    assert set(real["continuation"]) | set(ours["continuation"]) <= alphabet


@pytest.mark.parametrize("instrument", sorted(MARKET.listings))
def test_there_is_one_a_day_since_the_listing_and_one_came_late(instrument: str) -> None:
    found = np.array(stamps(everything(instrument)))
    days = found // DAY
    assert list(np.diff(days)) == [1] * (len(days) - 1)
    assert 0 <= found[0] - MARKET.listings[instrument].created_ms < DAY + 1000
    after = found - days * DAY - 8 * HOUR
    late = [datetime.fromtimestamp(at / 1000, UTC).date().isoformat() for at in found[after > 759]]
    assert late == ["2020-08-27"] * int(found[0] < 1_590_000_000_000)
    assert after.max() > HOUR or not late
    assert after.min() > 0 and np.median(after) < 130


@pytest.mark.parametrize("instrument", sorted(MARKET.listings))
def test_open_interest_is_positive_and_prices_are_near_the_candle(instrument: str) -> None:
    rows = everything(instrument)[-300:]
    days = MARKET.candles(instrument, "1D", stamps(rows)[0], NOW)
    assert all(row["position"] > 0 for row in rows)
    beside = 0
    for name in ("index_price", "mark_price"):
        for row in rows:
            at = np.searchsorted(days.ticks, row["timestamp"], side="right") - 1
            assert row[name] == pytest.approx(float(days.open[at]), rel=0.04)
            beside += not days.low[at] <= row[name] <= days.high[at]
    assert beside < 60


def test_some_index_prices_lie_outside_the_range_of_the_day() -> None:
    rows = everything(BTC)
    days = MARKET.candles(BTC, "1D", 0, NOW)
    at = np.searchsorted(days.ticks, stamps(rows), side="right") - 1
    index = np.array([row["index_price"] for row in rows])
    outside = (index < days.low[at]) | (index > days.high[at])
    assert 0 < outside.mean() < 0.05


def test_a_settlement_appears_at_its_own_time() -> None:
    newest = stamps(asked()["settlements"])[0]
    assert newest // DAY == NOW // DAY
    assert stamps(asked(simulator(newest))["settlements"])[0] == newest
    assert stamps(asked(simulator(newest - 1))["settlements"])[0] < newest


def test_the_start_of_the_search_is_the_upper_bound_and_inclusive() -> None:
    found = stamps(asked()["settlements"])
    assert stamps(asked(search_start_timestamp=found[7])["settlements"])[0] == found[7]
    assert stamps(asked(search_start_timestamp=found[7] - 1)["settlements"])[0] == found[8]


@pytest.mark.parametrize(("count", "rows"), [({}, 20), ({"count": 1}, 1), ({"count": 1000}, 1000)])
def test_a_page_has_as_many_rows_as_asked_for_by_default_20(count: dict[str, int], rows: int) -> None:
    assert len(asked(**count)["settlements"]) == rows


@pytest.mark.parametrize(("instrument", "how"), [(ETH, "none"), (BNB, "null"), (BTC, "empty page")])
@pytest.mark.parametrize("count", [1000, 397])
def test_pages_bring_every_row_once_and_end_in_three_ways(instrument: str, how: str, count: int) -> None:
    assert ending(instrument) == how
    served, rows = simulator(), []
    page = asked(served, instrument_name=instrument, count=count)
    while page["settlements"] and page["continuation"] not in (None, "none"):
        rows += page["settlements"]
        page = asked(served, instrument_name=instrument, count=count, continuation=page["continuation"])
    rows += page["settlements"]
    assert rows == everything(instrument)[::-1]
    said = {"none": "none", "null": None}.get(how, page["continuation"])
    assert page["continuation"] == said and bool(page["settlements"]) == (how != "empty page")


def test_tokens_of_identical_requests_differ_and_continue_alike() -> None:
    first, second = asked(), asked()
    assert first["settlements"] == second["settlements"]
    assert first["continuation"] != second["continuation"]
    following = [asked(continuation=page["continuation"])["settlements"] for page in (first, second)]
    assert following[0] == following[1]


def test_a_token_is_good_for_its_instrument_only() -> None:
    text = token(BTC, NOW, 5)
    assert read_token(BTC, text) == NOW
    assert [read_token(*wrong) for wrong in ((ETH, text), (BTC, text[:-1]), (BTC, "0"), (BTC, "z" * 99))] == [
        None
    ] * 4


def test_a_delisted_perpetual_has_no_more_settlements_until_it_is_listed_again() -> None:
    left = {"kind": "delisted", "instrument": SOL, "at": TODAY - 9 * DAY}
    assert stamps(everything(SOL, left))[-1] // DAY == NOW // DAY - 10
    back = {"kind": "relisted", "instrument": SOL, "at": TODAY - 4 * DAY + 1}
    days = [stamp // DAY - NOW // DAY for stamp in stamps(everything(SOL, left, back))[-5:]]
    assert days == [-10, -3, -2, -1, 0]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"instrument_name": "X-PERPETUAL"}, "instrument_name"),
        ({"instrument_name": ""}, "instrument_name"),
        ({"count": 1001}, "count"),
        ({"count": 0}, "count"),
        ({"type": "funding"}, "type"),
        ({"continuation": "none"}, "continuation"),
        ({"search_start_timestamp": "soon"}, "search_start_timestamp"),
    ],
)
def test_a_wrong_parameter_is_refused(query: dict[str, Any], param: str) -> None:
    error = asked(**query)
    assert (error["code"], error["data"]["param"]) == (-32602, param)
