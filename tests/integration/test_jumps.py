"""Candles that went too far, in markets of the simulator that are made calmer and wilder."""

from __future__ import annotations

import numpy as np
import pytest

from extract.simulator.market import Market
from tests.support.dbt_project import START, Candle, DbtProject, candles, minute

DAYS = 30
MINUTES = DAYS * 1440
CHECK = (
    "build",
    "--select",
    "+no_jumps",
    "--indirect-selection",
    "cautious",
    "--exclude-resource-type",
    "unit_test",
)
SPIKES = {
    # in the middle of a day, at both ends of one, in its first minute of all, and in the newest one
    20_000: {"high": 1.5},
    12_345: {"low": 0.8},
    7 * 1440 - 1: {"high": 1.2},
    9 * 1440: {"low": 0.9},
    0: {"high": 1.3},
    MINUTES - 1: {"low": 0.7},
}
STEPS = {5 * 1440: 1.2, 25_000: 0.85}
"""From this minute on, prices are another: at a day's first minute and in the middle of one."""


def usual(at: np.ndarray) -> np.ndarray:
    return np.ones(len(at))


def bursts(at: np.ndarray) -> np.ndarray:
    """Return ten times the volatility in one hour of each second day."""
    return np.where(at // 60 % 48 == 13, 10.0, 1.0)


MARKETS = {
    "CALM": lambda at: 0.2 * usual(at),
    "USUAL": usual,
    "WILD": lambda at: 10 * usual(at),
    "BURSTS": bursts,
    "ONE-WILD-DAY": lambda at: np.where(at // 1440 == 15, 10.0, 1.0),
    "SPIKED": usual,
    "SPIKED-WILD": lambda at: 3 * usual(at),
}


def market(name: str) -> list[Candle]:
    """Return the simulator's minutes with each logarithm of a move multiplied by what MARKETS says."""
    start = int(START.timestamp() * 1000)
    found = Market().minutes("BTC-PERPETUAL", start, start + (MINUTES - 1) * 60_000)
    scale = MARKETS[name](np.arange(MINUTES))
    logs = {column: np.log(getattr(found, column)) for column in ("open", "high", "low", "close")}
    before = np.concatenate(([logs["open"][0]], logs["close"][:-1]))
    closes = np.cumsum(scale * (logs["close"] - before))
    opens = np.concatenate(([0.0], closes[:-1]))
    prices = {column: np.exp(10 + opens + scale * (logs[column] - before)) for column in logs}
    return [
        Candle(
            minute(at),
            instrument=name,
            **{column: round(float(values[at]), 4) for column, values in prices.items()},
            volume=float(found.volume[at]),
        )
        for at in range(MINUTES)
    ]


def spoilt(rows: list[Candle]) -> list[Candle]:
    """Return candles with SPIKES and STEPS in them."""
    for at, factor in STEPS.items():
        rows[at:] = [
            row._replace(
                **{column: getattr(row, column) * factor for column in ("open", "high", "low", "close")}
            )
            for row in rows[at:]
        ]
    for at, changed in SPIKES.items():
        values = {column: getattr(rows[at], column) * factor for column, factor in changed.items()}
        rows[at] = rows[at]._replace(**values)
    return rows


@pytest.fixture(scope="module")
def built(warm: DbtProject) -> DbtProject:
    warm.start_anew()
    rows = {name: market(name) for name in MARKETS}
    for name in ("SPIKED", "SPIKED-WILD"):
        rows[name] = spoilt(rows[name])
    warm.land("10.5", [row for name in rows for row in rows[name]])
    warm.build()
    return warm


def jumps(project: DbtProject, instrument: str) -> list[int]:
    """Return the numbers of the minutes that jumped."""
    found = project.query(
        f"select timestamp from quality.ohlcv_jumps where instrument = '{instrument}' order by 1"
    )
    return [int((at - START).total_seconds() // 60) for (at,) in found]


@pytest.mark.parametrize("instrument", ["SPIKED", "SPIKED-WILD"])
def test_every_spike_and_step_is_found_and_nothing_else(built: DbtProject, instrument: str) -> None:
    assert jumps(built, instrument) == sorted([*SPIKES, *STEPS])


def test_false_alarms_of_calm_and_wild_markets(built: DbtProject) -> None:
    alarms = {name: len(jumps(built, name)) for name in MARKETS if "SPIKED" not in name}
    assert alarms == {"CALM": 0, "USUAL": 0, "WILD": 0, "ONE-WILD-DAY": 0, "BURSTS": 8}


def test_a_minutes_build_and_a_first_build_make_the_same_days(project: DbtProject) -> None:
    rows = [row for row in spoilt(market("SPIKED"))[: 2 * 1440] if row.timestamp != minute(1440)]
    project.land("10.5", rows[:1000])
    project.build()
    project.land("11.5", rows[1000:])
    project.land("12.5", candles(1440, 1441, instrument="SPIKED"))
    project.build()
    once = project.query("select * from quality.ohlcv_moves order by day")
    project.query("drop table quality.ohlcv_moves cascade")
    project.build()
    assert project.query("select * from quality.ohlcv_moves order by day") == once
    assert jumps(project, "SPIKED") == [0, 1440, 1441]


def test_a_jump_of_the_newest_week_warns_until_the_week_is_over(project: DbtProject) -> None:
    calm = {"open": 100.0, "high": 100.5, "low": 99.5, "close": 100.0}
    spike = Candle(minute(100), **calm | {"high": 199.0})
    project.land("10.5", [*candles(0, 100, **calm), spike, *candles(101, 200, **calm)])
    statuses = project.run(*CHECK).statuses
    assert statuses["no_jumps"] == "warn"
    project.land("11.5", candles(7 * 1440, 7 * 1440 + 10, **calm))
    statuses = project.run(*CHECK).statuses
    assert statuses["no_jumps"] == "pass"
    assert project.query("select timestamp, move_percent from quality.ohlcv_jumps") == [(minute(100), 100)]
    project.build("--select", "+ohlcv_jumps", "--vars", "{jump_floor_percent: 100}")
    assert project.query("select * from quality.ohlcv_jumps") == []
    refused = project.run("build", "--vars", "{jump_factor: many}").output
    assert "jump_factor" in refused and "'many'" in refused
