"""Odd numbers in a chart reply are read as plain loops read them, and one that is none is refused.

Replies as a whole, odd in any way, are the business of `tests.fuzz.replies`.
"""

from __future__ import annotations

import pytest

from extract.core.resolution import RESOLUTIONS
from extract.deribit.candles import VALUES
from tests.fuzz.replies import Seed, check

START = 1_704_067_200_000

ODD = (
    *("null", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "true", '"7"', '"\\ud800"', "[1]"),
    *("-0", "-0.0", "1E5", "1e+5", "1.0", "01", "1.", ".5", "+1", "0x1", "", "{}", '"\x01"'),
    *("9007199254740993", "9223372036854775808", "18446744073709551616", "1" * 400, "-" + "9" * 30),
    *("2.2250738585072011e-308", "5e-324", "3.6680847969999992", "1.7976931348623157e308", "0.1e1"),
)


@pytest.mark.parametrize("column", ["ticks", "volume"])
@pytest.mark.parametrize("number", ODD)
def test_an_odd_number_reads_as_with_plain_loops(number, column):
    values = {"ticks": START, **dict.fromkeys(VALUES, 1), column: number}
    columns = ",".join(f'"{name}":[{value}]' for name, value in values.items())
    body = f'{{"result":{{"status":"ok",{columns}}}}}'.encode()
    check(Seed(body, RESOLUTIONS["1"], START, START), body)
