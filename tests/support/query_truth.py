"""What the queries of dbt_project/queries must answer, computed from the simulator's candles, without SQL."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, ETH
from tests.support.truth import rounded

Row = tuple[Any, ...]
DAY = timedelta(days=1)
OCTOBER = datetime(2025, 10, 1, tzinfo=UTC)
MONDAY = datetime(2000, 1, 3, tzinfo=UTC)  # what time_bucket counts from


class Minute(NamedTuple):
    """A candle of the truth; cost in the quote coin, as the JSON spelled it."""

    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    cost: float


Minutes = dict[str, list[Minute]]


def minutes_of(exchange: RunningSimulator, start: datetime, end: datetime) -> Minutes:
    """Return the closed candles of [start, end) of both instruments, with the faults of the market."""
    view = exchange.simulator.view()
    first, last = (int(time.timestamp() * 1000) for time in (start, end))
    found: Minutes = {}
    for instrument in (BTC, ETH):
        candles = view.truth(instrument, "1", first, last)
        columns = zip(
            candles.ticks.tolist(),
            *(getattr(candles, name).tolist() for name in ("open", "high", "low", "close", "volume", "cost")),
            strict=True,
        )
        found[instrument] = [
            Minute._make(
                [datetime.fromtimestamp(tick / 1000, UTC), *(rounded(repr(value)) for value in values), cost]
            )
            for tick, *values, cost in columns
        ]
    return found


def between(minutes: Iterable[Minute], start: datetime, end: datetime) -> list[Minute]:
    return [minute for minute in minutes if start <= minute.timestamp < end]


def bars(minutes: Iterable[Minute], width: timedelta, offset: timedelta = timedelta()) -> list[Row]:
    """Return open time, open, high, low, close, volume and number of minutes of each bucket."""
    buckets: dict[datetime, list[Minute]] = defaultdict(list)
    for minute in minutes:
        since = minute.timestamp - MONDAY - offset
        buckets[minute.timestamp - since % width].append(minute)
    return [
        (
            opens_at,
            inside[0].open,
            max(each.high for each in inside),
            min(each.low for each in inside),
            inside[-1].close,
            sum(each.volume for each in inside),
            len(inside),
        )
        for opens_at, inside in sorted(buckets.items())
    ]


def latest(minutes: Minutes) -> list[Row]:
    return [(last.timestamp, name, *last[1:6]) for name, (*_, last) in sorted(minutes.items())]


def hourly(minutes: Minutes) -> list[Row]:
    return bars(between(minutes[BTC], OCTOBER, OCTOBER + DAY), timedelta(hours=1))


def daily_returns(minutes: Minutes) -> list[Row]:
    days = bars(minutes[BTC], DAY)
    return [
        (day[0].date(), day[4], round(100 * (day[4] / before[4] - 1), 4))
        for before, day in pairwise(days)
        if before[6] == day[6] == 1440
    ]


def volatility(minutes: Minutes) -> list[Row]:
    window = between(minutes[BTC], OCTOBER - 2 * DAY, OCTOBER + DAY)
    squares: dict[date, list[float]] = defaultdict(list)
    five = bars(window, timedelta(minutes=5))
    for before, bar in pairwise(five):
        squares[bar[0].date()].append(math.log(bar[4] / before[4]) ** 2)
    return [
        (day, len(each), Decimal(f"{100 * math.sqrt(365 * sum(each)):.2f}"))
        for day, each in sorted(squares.items())
    ]


def vwap(minutes: Minutes) -> list[Row]:
    hours: dict[datetime, list[Minute]] = defaultdict(list)
    for minute in between(minutes[BTC], OCTOBER, OCTOBER + DAY):
        hours[minute.timestamp.replace(minute=0)].append(minute)
    found = []
    for hour, inside in sorted(hours.items()):
        volume, cost = sum(each.volume for each in inside), sum(each.cost for each in inside)
        found.append((hour, Decimal(f"{cost / float(volume):.2f}"), volume, Decimal(cost)))
    return found


def holes(minutes: Minutes) -> list[Row]:
    """Return instrument, candle before, candle after and minutes missing of each hole, longest first."""
    found = [
        (name, before.timestamp, after.timestamp, int((after.timestamp - before.timestamp).seconds / 60) - 1)
        for name, each in minutes.items()
        for before, after in pairwise(each)
        if after.timestamp - before.timestamp > timedelta(minutes=1)
    ]
    return sorted(found, key=lambda hole: (-hole[3], hole[0], hole[1]))


def coverage(minutes: Minutes) -> list[Row]:
    found = []
    for name, each in sorted(minutes.items()):
        first, last = each[0].timestamp, each[-1].timestamp + timedelta(minutes=1)
        for start, end in ((first, OCTOBER), (OCTOBER, last)):
            inside, expected = between(each, start, end), int((end - start).total_seconds() / 60)
            share = (Decimal(100) * len(inside) / expected).quantize(Decimal("0.0001"), ROUND_DOWN)
            fills = sum(minute.volume == 0 for minute in inside)
            found.append((name, start.date().replace(day=1), len(inside), expected, share, fills))
    return found


def correlation(minutes: Minutes) -> list[Row]:
    closes = {
        name: {
            bar[0]: float(bar[4])
            for bar in bars(between(each, OCTOBER - 2 * DAY, OCTOBER + DAY), timedelta(hours=1))
        }
        for name, each in minutes.items()
    }
    hours = sorted(closes[BTC].keys() & closes[ETH].keys())
    returns: dict[date, list[tuple[float, float]]] = defaultdict(list)
    for before, hour in pairwise(hours):
        one, other = (math.log(closes[name][hour] / closes[name][before]) for name in (BTC, ETH))
        returns[hour.date()].append((one, other))
    return [
        (day, len(each), Decimal(f"{statistics.correlation(*zip(*each, strict=True)):.4f}"))
        for day, each in sorted(returns.items())
    ]


def settlement_days(minutes: Minutes) -> list[Row]:
    opens_at = timedelta(hours=8)
    window = between(minutes[BTC], OCTOBER - 2 * DAY + opens_at, OCTOBER + DAY + opens_at)
    return [(*bar[:6], bar[6] == 1440) for bar in bars(window, DAY, opens_at)]


ANSWERS: dict[str, Callable[[Minutes], Sequence[Row]]] = {
    "01_latest_candle": latest,
    "02_hourly_bars": hourly,
    "03_daily_returns": daily_returns,
    "04_realised_volatility": volatility,
    "05_vwap": vwap,
    "06_gaps": holes,
    "07_coverage": coverage,
    "08_correlation": correlation,
    "09_settlement_day": settlement_days,
}
