"""What a chart reply must be to be believed, and what becomes of odd values in it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from extract.core.resolution import MINUTE_MS, RESOLUTIONS
from extract.deribit.candles import VALUES, parse_chart
from extract.deribit.errors import BadReplyError, DeribitError
from extract.deribit.replies import decode
from tests.support.slow_reading import bits, slowly

ONE = RESOLUTIONS["1"]
START = 1_704_067_200_000

ODD = (
    *("null", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "true", '"7"', '"\\ud800"', "[1]"),
    *("-0", "-0.0", "1E5", "1e+5", "1.0", "01", "1.", ".5", "+1", "0x1", "", "{}", '"\x01"'),
    *("9007199254740993", "9223372036854775808", "18446744073709551616", "1" * 400, "-" + "9" * 30),
    *("2.2250738585072011e-308", "5e-324", "3.6680847969999992", "1.7976931348623157e308", "0.1e1"),
)


def reply(rows: int = 3, **changes: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {"ticks": [START + n * MINUTE_MS for n in range(rows)], "status": "ok"}
    columns |= {name: [n + 1 for n in range(rows)] for name in VALUES}
    return columns | changes


def parse(result: Any, buckets: int = 3) -> Any:
    return parse_chart(result, ONE, START, START + (buckets - 1) * MINUTE_MS)


def test_ints_and_floats_of_one_column_become_doubles_exactly():
    volume = [3.6680847969999992, 22, 0]
    chart = parse(reply(volume=volume))
    assert chart.table["volume"].to_pylist() == volume
    assert str(chart.table.schema.field("volume").type) == "double"


def test_no_data_is_an_empty_chart():
    chart = parse(reply(rows=0, status="no_data"))
    assert (chart.rows, chart.first_ms) == (0, None)


def test_values_that_are_no_numbers_are_kept_as_null():
    odd = json.loads("[null, NaN, 1e400]")
    chart = parse(reply(open=odd, close=["7", True, 10**400]))
    opened, closed = chart.table["open"].to_pylist(), chart.table["close"].to_pylist()
    assert opened[0] is None
    assert math.isnan(opened[1])
    assert opened[2] == math.inf
    assert closed == [None, None, math.inf]


@pytest.mark.parametrize("number", ODD)
def test_an_odd_number_reads_as_with_plain_loops(number):
    columns = ",".join(f'"{name}":[{number if name == "volume" else 1}]' for name in VALUES)
    body = f'{{"result":{{"status":"ok","ticks":[{START}],{columns}}}}}'.encode()
    expected = slowly(body, ONE, START, START)
    if expected is None:
        with pytest.raises(DeribitError):
            parse_chart(decode(200, {}, body, "h").result, ONE, START, START)
        return
    table = parse_chart(decode(200, {}, body, "h").result, ONE, START, START).table
    assert [bits(value) for value in table["volume"].to_pylist()] == expected[1]["volume"]


def test_ticks_off_the_bucket_grid_are_counted_and_kept():
    chart = parse(reply(ticks=[START, START + 30_000, START + MINUTE_MS]))
    assert (chart.rows, chart.off_grid) == (3, 1)


def test_settlement_days_are_on_the_grid_and_midnights_are_not():
    day = RESOLUTIONS["1D"]
    opens = START + 8 * 3_600_000
    assert parse_chart(reply(1, ticks=[opens]), day, opens, opens).off_grid == 0
    assert parse_chart(reply(1, ticks=[START]), day, START, START).off_grid == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume": [1, 2]}, "equal length"),
        ({"ticks": [START, START, START + MINUTE_MS]}, "ascending unique"),
        ({"ticks": [START + MINUTE_MS, START, START + 2 * MINUTE_MS]}, "ascending unique"),
        ({"ticks": [START, START + MINUTE_MS, None]}, "whole milliseconds"),
        ({"ticks": [float(START), START + 1.5, 2.0]}, "whole milliseconds"),
        ({"open": None}, "array for open"),
        ({"status": "perhaps"}, "status ok or no_data, got 'perhaps'"),
        ({"ticks": [START - 10 * MINUTE_MS, START, START + MINUTE_MS]}, "expected ticks from"),
        ({"ticks": [START, START + MINUTE_MS, START + 90 * MINUTE_MS]}, "expected ticks from"),
    ],
)
def test_a_reply_of_the_wrong_structure_is_refused_whole(changes, message):
    with pytest.raises(BadReplyError, match=message):
        parse(reply(**changes))


@pytest.mark.parametrize("result", [None, [], {}, "ok", {"status": "ok"}])
def test_what_is_no_chart_is_refused(result):
    with pytest.raises(BadReplyError):
        parse(result)


def test_recorded_chart_with_its_forming_candle(shared):
    body = json.loads(
        (shared / "deribit/recorded/chart_BTC-PERPETUAL_1_2020-03-11_with_forming_candle.json").read_text()
    )
    result = body["result"]
    chart = parse_chart(result, ONE, result["ticks"][0], result["ticks"][-1])
    assert chart.rows == len(result["ticks"])
    assert chart.table["volume"].to_pylist() == result["volume"]


def test_recorded_half_days_open_at_settlement(shared):
    body = json.loads((shared / "deribit/recorded/chart_BTC-PERPETUAL_720_2024-12-01.json").read_text())
    ticks = body["result"]["ticks"]
    assert parse_chart(body["result"], RESOLUTIONS["720"], ticks[0], ticks[-1]).off_grid == 0


def test_recorded_no_data(shared):
    body = json.loads((shared / "deribit/recorded/chart_no_data.json").read_text())
    assert parse(body["result"]).rows == 0
