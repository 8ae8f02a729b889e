"""simdjson, orjson and numpy read a reply as Python's json and plain loops do, odd numbers and all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.core.resolution import MINUTE_MS, RESOLUTIONS
from extract.deribit.candles import VALUES, parse_chart
from extract.deribit.errors import DeribitError
from extract.deribit.replies import decode
from tests.support.slow_reading import bits, slowly

ONE = RESOLUTIONS["1"]
START = 1_704_067_200_000
ROWS = 4
LAST = START + (ROWS - 1) * MINUTE_MS

ODD = (
    *("null", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "true", '"7"', '"\\ud800"', "[1]"),
    *("-0", "-0.0", "1E5", "1e+5", "1.0", "01", "1.", ".5", "+1", "0x1", "", "{}", '"\x01"'),
    *("9007199254740993", "9223372036854775808", "18446744073709551616", "1" * 400, "-" + "9" * 30),
    *("2.2250738585072011e-308", "5e-324", "3.6680847969999992", "1.7976931348623157e308", "0.1e1"),
)
numbers = st.one_of(
    st.sampled_from(ODD),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-10_000, 10_000, places=8, allow_nan=False).map(str),
)
columns = st.lists(numbers, min_size=ROWS, max_size=ROWS)
ordered = st.just([str(START + n * MINUTE_MS) for n in range(ROWS)])
disturbed = st.lists(
    st.one_of(st.integers(-3, 8).map(lambda n: str(START + n * MINUTE_MS // 2)), numbers), max_size=ROWS + 1
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a chart reply as text, most often a sound one; sometimes with a key twice or cut short."""
    plain = st.lists(st.sampled_from(["1", "2.5", "3.6680847969999992", "0"]), min_size=ROWS, max_size=ROWS)
    members = [("status", '"ok"'), ("ticks", f"[{','.join(draw(st.one_of(ordered, ordered, disturbed)))}]")]
    members += [(name, f"[{','.join(draw(st.one_of(plain, plain, columns)))}]") for name in VALUES]
    members += draw(st.sampled_from([[], [], [], [("open", "[9,9,9,9]")], [("more", "1")], [("ticks", "7")]]))
    result = ",".join(f'"{name}":{value}' for name, value in draw(st.permutations(members)))
    body = f'{{"usOut":1700000000123456,"testnet":false,"result":{{{result}}}}}'.encode()
    around = draw(
        st.sampled_from([(b"", b""), (b"", b""), (b"\xef\xbb\xbf", b""), (b" ", b"\n"), (b"", b"x")])
    )
    body = around[0] + body + around[1]
    return body[: draw(st.sampled_from([len(body), len(body), len(body), len(body) // 2]))]


@given(bodies())
def test_every_reply_reads_as_with_pythons_own_json_and_loops(body):
    expected = slowly(body, ONE, START, LAST)
    try:
        result = decode(200, {}, body, "h").result
        chart = parse_chart(result, ONE, START, START + (ROWS - 1) * MINUTE_MS)
    except DeribitError:
        assert expected is None
        return
    ticks = chart.table["timestamp"].cast("int64").to_pylist()
    values = {name: list(map(bits, chart.table[name].to_pylist())) for name in VALUES}
    assert (ticks, values, chart.off_grid) == expected


@pytest.mark.parametrize("number", ODD)
def test_an_odd_number_reads_as_with_pythons_own_json(number):
    columns = ",".join(f'"{name}":[{number if name == "volume" else 1}]' for name in VALUES)
    body = f'{{"result":{{"status":"ok","ticks":[{START}],{columns}}}}}'.encode()
    expected = slowly(body, ONE, START, START)
    if expected is None:
        with pytest.raises(DeribitError):
            parse_chart(decode(200, {}, body, "h").result, ONE, START, START)
        return
    table = parse_chart(decode(200, {}, body, "h").result, ONE, START, START).table
    assert [bits(value) for value in table["volume"].to_pylist()] == expected[1]["volume"]


def test_a_chart_of_numbers_alone_makes_no_python_number(monkeypatch):
    monkeypatch.setattr("orjson.loads", None)
    columns = ",".join(f'"{name}":[1,2.5]' for name in VALUES)
    chart = f'{{"status":"ok","ticks":[{START},{START + MINUTE_MS}],{columns}}}'
    body = f'{{"usOut":1700000000123456,"result":{chart}}}'.encode()
    reply = decode(200, {}, body, "h")
    assert reply.server_ms == 1_700_000_000_123
    assert all(isinstance(reply.result[name], np.ndarray) for name in ("ticks", *VALUES))
