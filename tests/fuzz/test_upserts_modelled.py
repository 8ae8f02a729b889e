"""Random loads against a dict: a usable candle of the newest load that has one, and nothing else.

`FUZZ_SEQUENCES=100 FUZZ_SEED=7 pytest tests/fuzz/test_upserts_modelled.py` looks longer.
"""

from __future__ import annotations

import os
import random
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.integration.conftest import project, warm  # noqa: F401  # fixtures
from tests.support.dbt_project import Candle, DbtProject, minute

SEQUENCES = int(os.environ.get("FUZZ_SEQUENCES", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "5"))
BUILDS = 3
NAMES = ("BTC-PERPETUAL", "ETH-PERPETUAL", "SOL_USDC-PERPETUAL")
DAYS = (0, 1, 29, 30, 400)  # several chunks of the table and of the landing
UNUSABLE = (None, float("nan"), float("inf"), float("-inf"), 1e10, -1e10, 1e300)
TABLE = "select instrument, timestamp, open, high, low, close, volume from public.perpetuals_ohlcv"

Key = tuple[str, object]
Model = dict[Key, tuple[Decimal, ...]]


def draw_load(rng: random.Random) -> list[Candle]:
    """Return candles around a few midnights, some twice, some unusable, some off the grid."""
    found = []
    for _ in range(rng.randrange(1, 60)):
        values = {name: rng.randrange(1, 400) / 4 for name in ("open", "high", "low", "close", "volume")}
        if rng.random() < 0.2:
            values[rng.choice(list(values))] = rng.choice(UNUSABLE)
        at = minute(rng.choice(DAYS) * 1440 + rng.randrange(-6, 6))
        at += timedelta(seconds=30 if rng.random() < 0.05 else 0)
        found.append(Candle(at, rng.choice(NAMES), rng.choice(("1", "1", "1", "1", "5")), **values))
    return found


def usable(candle: Candle) -> bool:
    values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    # no comparison with a NaN holds
    in_range = all(value is not None and abs(value) < 1e10 for value in values)
    return candle.resolution == "1" and candle.timestamp.second == 0 and in_range


def rank(candle: Candle) -> tuple[float, ...]:
    """Order the candles of one load and key: the one with the most trades is the latest reading."""
    return (candle.volume, candle.high, -candle.low, -candle.close, -candle.open)


def apply(model: Model, load: list[Candle]) -> None:
    """Let a complete load win over all before it."""
    for candle in sorted(filter(usable, load), key=rank):
        values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        model[candle.instrument, candle.timestamp] = tuple(map(Decimal, values))


def held(dbt: DbtProject) -> Model:
    return {(name, at): tuple(values) for name, at, *values in dbt.query(TABLE)}


@pytest.mark.parametrize("seed", range(SEED, SEED + SEQUENCES))
def test_random_loads_leave_the_newest_usable_values(seed, project):  # noqa: F811  # the fixture
    rng, model = random.Random(seed), {}
    number = 0
    for _ in range(BUILDS):
        for _ in range(rng.randrange(0, 4)):
            number += 1
            load_id, load = f"{1_700_000_000 + number}.{rng.randrange(1, 10)}", draw_load(rng)
            complete = rng.random() < 0.8
            project.land(load_id, load, complete=complete)
            if complete:  # one that a killed run left behind is never seen
                apply(model, load)
        project.build("--select", "+perpetuals_ohlcv")
        assert held(project) == model, f"seed {seed}"
    project.build("--select", "perpetuals_ohlcv")
    assert held(project) == model, f"seed {seed}: a build without a new load changed something"
