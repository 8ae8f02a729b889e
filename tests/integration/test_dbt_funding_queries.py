"""The queries of funding and open interest, against plain Python over the rows that were landed."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.support.dbt_funding import BTC, DAY, HOUR, SOL, Funding, Settlement, land, list_instrument
from tests.support.dbt_project import Candle, DbtProject
from tests.support.perps import PROJECT

OPENED, CLOSED = (datetime(2025, month, day, 12, tzinfo=UTC) for month, day in ((9, 10), (10, 1)))
FIRST, LAST = (datetime(2025, month, day, tzinfo=UTC) for month, day in ((9, 9), (10, 3)))
CANDLES = datetime(2025, 9, 28, 8, tzinfo=UTC)
SETTLED = timedelta(hours=8, milliseconds=65)


def funding_of(instrument: str, seed: int, price: float) -> list[Funding]:
    """Return a walk of the index with rates of either sign, a sixth of them exactly 0."""
    chosen, rows, before = random.Random(seed), [], None
    for number in range(int((LAST - FIRST) / HOUR) + 1):
        price *= math.exp(chosen.gauss(0, 0.004))
        rate = 0.0 if number % 6 == 0 else chosen.gauss(4e-6, 3e-5)
        rows.append(Funding(FIRST + number * HOUR, instrument, rate, 8 * rate, price, before))
        before = price
    return rows


FUNDING = {BTC: funding_of(BTC, 1, 110_000.0), SOL: funding_of(SOL, 2, 200.0)}
SETTLEMENTS = [
    Settlement(
        datetime(2025, 9, 27, tzinfo=UTC) + SETTLED + number * DAY, BTC, 7e8 + 1e6 * number**2, 1e5 + number
    )
    for number in range(8)
    if number != 4  # 1 October
]
MINUTES = [
    Candle(
        CANDLES + timedelta(minutes=number),
        open=110_000.0,
        high=120_000.0,
        low=100_000.0,
        close=110_000.0 + number % 977,
        volume=number % 13 / 4,
    )
    for number in range(int((LAST - CANDLES) / timedelta(minutes=1)))
]


def inside(instrument: str, start: datetime, end: datetime) -> list[Funding]:
    return [row for row in FUNDING[instrument] if start < row.timestamp <= end]


def positions() -> list[tuple[Any, ...]]:
    """Return what the four positions paid, hour by hour as a clearing house would book it."""
    booked = []
    for instrument, size, coin in ((BTC, 100_000.0, "BTC"), (SOL, 500.0, "USDC")):
        for side in ("long", "short"):
            coins, dollars = [], []
            for row in inside(instrument, OPENED, CLOSED):
                rate = row.interest_1h if side == "long" else -row.interest_1h
                amount = (
                    size * rate / row.prev_index_price if instrument == BTC else size * row.index_price * rate
                )
                coins.append(amount)
                dollars.append(amount * row.index_price if instrument == BTC else amount)
            booked.append((instrument, side, size, 21 * 24, coin, math.fsum(coins), math.fsum(dollars)))
    return booked


def by_day(start: datetime, end: datetime) -> dict[date, list[Funding]]:
    days: dict[date, list[Funding]] = defaultdict(list)
    for row in inside(BTC, start, end):
        days[(row.timestamp - HOUR).date()].append(row)
    return days


def annualised() -> list[tuple[Any, ...]]:
    days = by_day(datetime(2025, 9, 29, tzinfo=UTC), datetime(2025, 10, 2, tzinfo=UTC))
    sums = {day: math.fsum(row.interest_1h for row in rows) for day, rows in days.items()}
    return [(day, 24, 100 * rate, 100 * 365 * rate) for day, rate in sorted(sums.items())]


def carry() -> list[tuple[Any, ...]]:
    """A day's carry is its funding less what the basis rose from the end of the day before."""
    closes = {minute.timestamp + timedelta(minutes=1): minute.close for minute in MINUTES}
    indexes = {row.timestamp: row.index_price for row in FUNDING[BTC]}

    def basis(at: datetime) -> float:
        return closes[at] / indexes[at] - 1

    answer = []
    for day, rows in sorted(
        by_day(datetime(2025, 9, 30, tzinfo=UTC), datetime(2025, 10, 2, tzinfo=UTC)).items()
    ):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        funding = math.fsum(row.interest_1h for row in rows)
        fall = basis(start) - basis(start + DAY)
        average = math.fsum(basis(row.timestamp) for row in rows) / 24
        answer.append((day, 24, 100 * average, 100 * funding, 100 * fall, 100 * (funding + fall)))
    return answer


def open_interest() -> list[tuple[Any, ...]]:
    answer, known = [], {row.timestamp.date(): row for row in SETTLEMENTS}
    for day in (date(2025, 9, 29), date(2025, 9, 30), date(2025, 10, 2)):
        row, before = known[day], known.get(day - DAY) if day > date(2025, 9, 29) else None
        end = row.timestamp.replace(microsecond=0)
        candles = [minute for minute in MINUTES if end - DAY <= minute.timestamp < end]
        change = row.position - before.position if before else None
        volume = sum(minute.volume for minute in candles)
        answer.append((day, row.position, "USD", change, row.mark_price, candles[-1].close, volume))
    return answer


@pytest.fixture(scope="module")
def built(warm: DbtProject) -> DbtProject:
    warm.start_anew()
    list_instrument(warm, "10.5", BTC, "reversed")
    list_instrument(warm, "10.5", SOL, "linear")
    warm.land("10.5", MINUTES)
    for rows in (*FUNDING.values(), SETTLEMENTS):
        land(warm, "10.5", rows)
    rollups = ("+perpetuals_ohlcv_1h", "+perpetuals_ohlcv_1d_settlement")
    warm.build("--select", "+perpetuals_funding", "+perpetuals_settlements", "+perpetuals", *rollups)
    return warm


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("11_funding_of_a_position", positions),
        ("12_annualised_funding", annualised),
        ("13_carry", carry),
        ("14_open_interest", open_interest),
    ],
)
def test_a_query_answers_what_the_rows_say(built: DbtProject, name: str, truth) -> None:
    answer = built.query((PROJECT / f"dbt_project/queries/{name}.sql").read_text())
    expected = truth()
    assert expected
    assert len(answer) == len(expected)
    for row, wanted in zip(answer, expected, strict=True):
        assert [float(each) if hasattr(each, "as_tuple") else each for each in row] == [
            pytest.approx(each, rel=1e-9, abs=1e-15) if isinstance(each, float) else each for each in wanted
        ]


def test_what_a_long_pays_a_short_is_paid(built: DbtProject) -> None:
    query = (PROJECT / "dbt_project/queries/11_funding_of_a_position.sql").read_text()
    paid = {(row[0], row[1]): row[5] for row in built.query(query)}
    for instrument in (BTC, SOL):
        assert paid[instrument, "long"] == pytest.approx(-paid[instrument, "short"]) != 0
