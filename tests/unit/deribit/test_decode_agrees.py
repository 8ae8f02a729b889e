"""simdjson, orjson and numpy read a reply as Python's json and plain loops do, odd numbers and all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.core.resolution import MINUTE_MS, RESOLUTIONS
from extract.deribit.candles import VALUES
from extract.deribit.replies import decode
from tests.fuzz.replies import Seed, check

ONE = RESOLUTIONS["1"]
START = 1_704_067_200_000
ROWS = 4
ASKED = Seed(b"", ONE, START, START + (ROWS - 1) * MINUTE_MS)

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
    around = [(b"", b""), (b"", b""), (b"\xef\xbb\xbf", b""), (b" ", b"\n"), (b"", b"x")]
    before, after = draw(st.sampled_from(around))
    body = before + body + after
    return body[: draw(st.sampled_from([len(body), len(body), len(body), len(body) // 2]))]


def chart_of(volumes: str) -> bytes:
    """Return a reply with these volumes and nothing else that is odd."""
    count = volumes.count(",") + 1
    ticks = ",".join(str(START + n * MINUTE_MS) for n in range(count))
    values = {name: ",".join("1" * count) for name in VALUES} | {"volume": volumes}
    columns = ",".join(f'"{name}":[{text}]' for name, text in values.items())
    return f'{{"usOut":1700000000123456,"result":{{"status":"ok","ticks":[{ticks}],{columns}}}}}'.encode()


@given(bodies())
def test_every_reply_reads_as_with_pythons_own_json_and_loops(body):
    check(ASKED, body)


@pytest.mark.parametrize("number", ODD)
def test_an_odd_number_reads_as_with_pythons_own_json(number):
    check(ASKED, chart_of(number))


def test_a_chart_of_numbers_alone_makes_no_python_number(monkeypatch):
    monkeypatch.setattr("orjson.loads", None)
    reply = decode(200, {}, chart_of("1,2.5"), "h")
    assert reply.server_ms == 1_700_000_000_123
    assert all(isinstance(reply.result[name], np.ndarray) for name in ("ticks", *VALUES))
