"""The simulated truth: the same however it is asked, and shaped like a market."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.simulator.candles import COLUMNS, MINUTE_MS, PRICES, RESOLUTIONS, Candles, aggregate, bucket_open
from extract.simulator.market import Market

MARKET = Market()
BTC = "BTC-PERPETUAL"
T2018, T2020, T2024, T2030 = 1_534_242_287_000, 1_583_916_960_000, 1_719_792_000_000, 1_893_456_000_000
HOUR, DAY = 60 * MINUTE_MS, 1440 * MINUTE_MS


def same(left: Candles, right: Candles) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in COLUMNS)


@settings(max_examples=60, deadline=None)
@given(
    instrument=st.sampled_from(sorted(MARKET.listings)),
    minute=st.integers(T2018 // MINUTE_MS, T2030 // MINUTE_MS),
    before=st.integers(0, 3000),
    after=st.integers(0, 3000),
)
def test_a_minute_is_the_same_in_every_window(instrument, minute, before, after):
    tick = minute * MINUTE_MS
    wide = MARKET.minutes(instrument, tick - before * MINUTE_MS, tick + after * MINUTE_MS)
    assert same(wide.between(tick, tick), MARKET.minutes(instrument, tick, tick))


def test_the_same_seed_is_the_same_market_and_another_seed_another():
    window = (BTC, T2024, T2024 + DAY)
    assert same(MARKET.minutes(*window), Market(7).minutes(*window))
    assert not np.array_equal(MARKET.minutes(*window).close, Market(8).minutes(*window).close)


@pytest.mark.parametrize("instrument", sorted(MARKET.listings))
def test_candles_keep_the_rules_of_a_candle(instrument):
    listing = MARKET.listings[instrument]
    candles = MARKET.minutes(instrument, max(T2024, listing.created_ms), T2024 + 400 * DAY)
    candles = candles.take(slice(0, 20_000))
    assert np.all(np.diff(candles.ticks) == MINUTE_MS)
    assert np.all(candles.high >= np.maximum(candles.open, candles.close))
    assert np.all(candles.low <= np.minimum(candles.open, candles.close))
    assert np.all(candles.low > 0) and np.all(candles.volume >= 0)
    assert np.all((candles.volume == 0) == (candles.cost == 0))
    tick = Decimal(repr(listing.tick_size))
    for name in PRICES:
        assert all(Decimal(repr(price)) % tick == 0 for price in getattr(candles, name)[:2000].tolist())


def test_silent_minutes_repeat_the_previous_close_and_are_commoner_in_small_instruments():
    shares = {}
    for instrument in (BTC, "BTC_USDC-PERPETUAL"):
        candles = MARKET.minutes(instrument, T2024, T2024 + 20 * DAY)
        fills = np.flatnonzero(candles.volume == 0)
        fills = fills[fills > 0]
        assert len(fills)
        for name in PRICES:
            assert np.array_equal(getattr(candles, name)[fills], candles.close[fills - 1])
        shares[instrument] = len(fills) / len(candles)
    assert shares[BTC] < 0.02 < 0.4 < shares["BTC_USDC-PERPETUAL"]


def test_block_trades_count_in_volume_but_not_in_prices():
    candles = MARKET.minutes(BTC, T2024, T2024 + 20 * DAY)
    previous = np.concatenate(([np.nan], candles.close[:-1]))
    flat = np.logical_and.reduce([getattr(candles, name) == previous for name in PRICES])
    average = np.divide(candles.cost, candles.volume, out=np.zeros(len(candles)), where=candles.volume > 0)
    outside = (candles.volume > 0) & ((average < candles.low * 0.99) | (average > candles.high * 1.01))
    assert outside.sum() > 10
    assert np.all(flat[outside])


def test_open_is_the_first_trade_not_the_previous_close():
    candles = MARKET.minutes(BTC, T2024, T2024 + DAY)
    assert np.mean(candles.open[1:] != candles.close[:-1]) > 0.5


def test_volumes_carry_float_noise_before_2021_and_eight_decimals_after():
    old = MARKET.minutes(BTC, T2020, T2020 + DAY).volume.tolist()
    new = MARKET.minutes(BTC, T2024, T2024 + DAY).volume.tolist()
    assert max(len(repr(volume).partition(".")[2]) for volume in old) > 12
    assert all(round(volume, 8) == volume for volume in new)


def test_nothing_exists_before_the_bucket_of_the_listing():
    for resolution in RESOLUTIONS:
        first = MARKET.candles(BTC, resolution, 0, T2018 + 2 * DAY).ticks[0]
        assert first == bucket_open(T2018, resolution)
    assert not len(MARKET.minutes(BTC, 0, T2018 - MINUTE_MS))


@pytest.mark.parametrize("resolution", [name for name in RESOLUTIONS if name != "1"])
def test_coarse_candles_are_the_aggregate_of_their_minutes(resolution):
    start = bucket_open(T2024, resolution)
    served = MARKET.candles("SOL_USDC-PERPETUAL", resolution, start, start + 3 * DAY - 1)
    minutes = MARKET.minutes("SOL_USDC-PERPETUAL", start, start + 3 * DAY - 1)
    assert len(served) == 3 * DAY // RESOLUTIONS[resolution]
    for tick in served.ticks[:20].tolist():
        inside = minutes.between(tick, tick + RESOLUTIONS[resolution] - 1)
        row = served.between(tick, tick)
        assert (row.open[0], row.close[0]) == (inside.open[0], inside.close[-1])
        assert (row.high[0], row.low[0]) == (inside.high.max(), inside.low.min())
        assert row.volume[0] == pytest.approx(inside.volume.sum(), abs=1e-8)
        assert row.cost[0] == pytest.approx(inside.cost.sum(), abs=1e-6)


@pytest.mark.parametrize(("resolution", "opens"), [("1D", {8}), ("720", {8, 20}), ("360", {0, 6, 12, 18})])
def test_half_day_and_day_buckets_open_at_the_settlement_hour(resolution, opens):
    ticks = MARKET.candles(BTC, resolution, T2024, T2024 + 5 * DAY).ticks
    assert {int(tick) // HOUR % 24 for tick in ticks} == opens


def test_a_long_range_read_in_chunks_equals_one_aggregate():
    start = bucket_open(T2024, "60")
    end = start + 400 * DAY - 1
    whole = aggregate(MARKET.minutes("ETH-PERPETUAL", start, end), "60")
    assert same(MARKET.candles("ETH-PERPETUAL", "60", start, end), whole)


def test_the_forming_candle_changes_until_it_closes_and_then_stays():
    tick = T2020
    final = MARKET.candles(BTC, "1", tick, tick)
    seen = [
        MARKET.candles(BTC, "1", tick, tick, now_ms=tick + after)
        for after in (0, 10_000, 30_000, 45_000, 59_999)
    ]
    volumes = [float(candles.volume[0]) for candles in seen]
    assert volumes == sorted(set(volumes)) and volumes[0] == 0 and volumes[-1] < final.volume[0]
    assert all(candles.low[0] <= candles.close[0] <= candles.high[0] for candles in seen)
    assert not same(seen[-1], final)
    assert same(MARKET.candles(BTC, "1", tick, tick, now_ms=tick + MINUTE_MS), final)
    assert not len(MARKET.candles(BTC, "1", tick, tick, now_ms=tick - 1))


def test_a_candle_that_has_just_opened_shows_the_previous_close_in_every_window():
    for tick in range(T2020, T2020 + 20 * MINUTE_MS, MINUTE_MS):
        opened = MARKET.candles(BTC, "1", tick, tick, now_ms=tick + 1)
        before = MARKET.minutes(BTC, tick - MINUTE_MS, tick - MINUTE_MS)
        assert {float(getattr(opened, name)[0]) for name in PRICES} == {float(before.close[0])}


def test_a_forming_hour_is_made_of_the_minutes_so_far():
    tick = bucket_open(T2024, "60")
    now = tick + 20 * MINUTE_MS + 1
    hour = MARKET.candles(BTC, "60", tick, tick + HOUR, now_ms=now)
    minutes = MARKET.candles(BTC, "1", tick, tick + HOUR, now_ms=now)
    assert len(minutes) == 21 and len(hour) == 1
    assert hour.volume[0] == pytest.approx(minutes.volume.sum())
    assert hour.close[0] == minutes.close[-1]


def test_one_instrument_has_prices_below_a_cent_and_huge_volumes():
    candles = MARKET.minutes("SHIB_USDC-PERPETUAL", 1_751_328_000_000, 1_751_328_000_000 + DAY)
    assert candles.high.max() < 0.01 and candles.volume.max() > 1e8
