"""Replies of funding and settlements: what becomes a row, what is null, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from extract.core.resolution import DAY_MS, HOUR_MS
from extract.deribit.errors import BadReplyError
from extract.deribit.funding import parse_funding, parse_rate
from extract.deribit.settlements import parse_page

AT = 1_704_096_000_000  # 2024-01-01 08:00
RECORDED = Path(__file__).parents[4] / "shared/deribit/recorded"


def rate(hours: int, **values: object) -> dict[str, object]:
    """Return a row of funding, so many hours after `AT`."""
    row = {"interest_1h": 1.2e-09, "interest_8h": -1.3e-11, "index_price": 42_000, "prev_index_price": None}
    return {"timestamp": AT + hours * HOUR_MS, **row, **values}


def settled(days: int, **values: object) -> dict[str, object]:
    """Return a settlement, so many days after `AT` and 65 ms late."""
    row = {"type": "settlement", "position": 778_628_500, "mark_price": 1.5, "index_price": 1.25}
    losses = {"profit_loss": -2.5, "session_profit_loss": 3.5}
    return {"timestamp": AT + days * DAY_MS + 65, **row, **losses, **values}


def test_rates_keep_every_digit():
    rows = parse_funding([rate(0), rate(1, prev_index_price=42_000.5)], AT, AT + HOUR_MS)
    assert rows.first_ms == AT
    assert rows.table.to_pydict() | {"timestamp": None} == {
        "timestamp": None,
        "interest_1h": [1.2e-09, 1.2e-09],
        "interest_8h": [-1.3e-11, -1.3e-11],
        "index_price": [42_000.0, 42_000.0],
        "prev_index_price": [None, 42_000.5],
    }


@pytest.mark.parametrize("value", ["1e-9", None, True, [], {}])
def test_a_value_that_is_no_number_is_kept_as_null(value):
    [found] = parse_funding([rate(0, interest_1h=value)], AT, AT).table["interest_1h"].to_pylist()
    assert found is None


def test_not_a_number_is_kept_as_such():
    [found] = parse_funding([rate(0, interest_1h=math.nan)], AT, AT).table["interest_1h"].to_pylist()
    assert math.isnan(found)


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        {"status": "ok"},
        [1],
        [rate(1), rate(0)],
        [rate(0), rate(0)],
        [rate(0, timestamp=None)],
        [rate(0, timestamp=str(AT))],
        [rate(0, timestamp=AT + 0.5)],
        [rate(0, timestamp=2**70)],
        [rate(-1)],
        [rate(9)],
    ],
)
def test_rates_of_which_none_can_be_trusted_are_refused(result):
    with pytest.raises(BadReplyError):
        parse_funding(result, AT, AT + 8 * HOUR_MS)


def test_no_rates_are_an_answer():
    assert parse_funding([], AT, AT).table.num_rows == 0


def test_the_rate_of_a_range_is_a_number():
    assert (parse_rate(0), parse_rate(-1.5e-7)) == (0.0, -1.5e-7)
    for value in (None, "0", True, []):
        with pytest.raises(BadReplyError, match="expected a rate"):
            parse_rate(value)


def test_a_page_is_turned_round_and_keeps_its_stamps():
    page = parse_page({"settlements": [settled(1), settled(0, position=None)], "continuation": "next"})
    assert page.token == "next"
    assert page.rows.first_ms == AT + 65
    assert page.rows.table["position"].to_pylist() == [None, 778_628_500.0]


@pytest.mark.parametrize(
    ("settlements", "token"), [([settled(0)], None), ([settled(0)], "none"), ([settled(0)], ""), ([], "more")]
)
def test_pages_end_in_each_of_their_ways(settlements, token):
    assert parse_page({"settlements": settlements, "continuation": token}).token is None


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        {"continuation": "x"},
        {"settlements": {}},
        {"settlements": [settled(0)], "continuation": 7},
        {"settlements": [settled(0), settled(1)]},
        {"settlements": [settled(0), settled(0)]},
        {"settlements": [settled(0, timestamp=7)]},
    ],
)
def test_a_page_of_which_nothing_can_be_trusted_is_refused(result):
    with pytest.raises(BadReplyError):
        parse_page(result)


def test_recorded_replies_are_read():
    if not RECORDED.is_dir():
        pytest.skip("needs ../shared, which a clone does not have")
    for file in (RECORDED / "funding").glob("*.json"):
        found = json.loads(file.read_text())
        result = found["result"] if isinstance(found, dict) else found
        table = parse_funding(result, result[0]["timestamp"], result[-1]["timestamp"]).table
        assert table.num_rows == len(result)
        assert not any(column.null_count for column in table.columns)
    [file] = (RECORDED / "settlements").glob("*.json")
    result = json.loads(file.read_text())
    page = parse_page(result.get("result", result))
    assert page.token
    assert page.rows.table.num_rows == len(result.get("result", result)["settlements"])
    assert not any(column.null_count for column in page.rows.table.columns)
