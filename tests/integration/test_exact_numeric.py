"""Doubles reach the table as the decimal that the JSON said, in eight decimals, whatever their size."""

from __future__ import annotations

import math
import random
from decimal import ROUND_HALF_UP, Decimal

from tests.support.dbt_project import Candle, DbtProject, minute

EIGHT = Decimal("0.00000001")


def doubles() -> list[float]:
    """Return values of every magnitude, ties at the ninth decimal, and the neighbours of each."""
    chance = random.Random(7)
    values = [
        float(f"{chance.choice(('', '-'))}{chance.random() * 10:.15f}e{power}")
        for power in range(-12, 10)
        for _ in range(60)
    ]
    values += [chance.randrange(10**digits) / 1e8 for digits in range(1, 18) for _ in range(40)]
    values += [
        float(f"{chance.randrange(10**digits)}.{chance.randrange(10**8):08d}5")
        for digits in range(1, 8)
        for _ in range(40)
    ]
    values += [float(2**power) for power in range(-30, 34)]
    near = [math.nextafter(value, towards) for value in values for towards in (-math.inf, math.inf)]
    return [value for value in (*values, *near) if abs(value) < 1e10]


def test_every_double_becomes_its_shortest_decimal_rounded_half_up(project: DbtProject) -> None:
    values = doubles()
    project.land("10.5", [Candle(minute(at), open=value, volume=-value) for at, value in enumerate(values)])
    project.build("--select", "+perpetuals_ohlcv")
    stored = project.query("select open, volume from perpetuals_ohlcv order by timestamp")
    expected = [Decimal(repr(value)).quantize(EIGHT, ROUND_HALF_UP) for value in values]
    assert len(values) > 5000
    assert stored == [(value, -value) for value in expected]
