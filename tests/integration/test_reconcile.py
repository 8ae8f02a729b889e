"""`perps reconcile` and `perps audit`: Deribit's longer candles, and everything recomputed."""

from __future__ import annotations

from functools import partial

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.integration.conftest import BUILD
from tests.support.exchange import BTC, ETH, charts, set_clock, set_faults
from tests.support.perps import Perps, error_line, expect
from tests.support.truth import execute, rows

EXCHANGE = {"clock": "2024-01-06T00:00:30Z"}
ALTERED = "2024-01-03T12:00:00Z"


@pytest.fixture
def typed(loaded: Database, exchange: RunningSimulator, perps: Perps) -> Perps:
    return partial(perps, database=loaded, api=exchange.base_url)


def test_minutes_add_up_to_deribits_days(typed):
    said = expect(typed("reconcile"))
    for name in (BTC, ETH):
        # 31 December 08:00 is not whole: the table begins at midnight
        line = f"{name} 1D: 4 identical, 0 different, 1 not whole, 0 missing in minutes, 0 missing at deribit"
        assert line in said
        assert f"{name} 2023-12-31 08:00:00Z different: " in said
    assert said.count("(480 of 1,440 candles)") == 2
    assert "warning:" not in said


def test_hours_of_one_instrument_and_range(exchange, typed):
    exchange.simulator.log.clear()
    arguments = ("--resolution", "60", "--instruments", ETH, "--start", "2024-01-02", "--end", "2024-01-03")
    assert f"{ETH} 60: 24 identical, 0 different" in typed("reconcile", *arguments).stdout
    assert [(entry.instrument, entry.resolution) for entry in charts(exchange)] == [(ETH, "60")]


def test_bars_do_not_make_what_stands_on_minutes_look_behind(typed):
    expect(typed("reconcile"))
    expect(typed("dbt", "--", "test", "--exclude-resource-type", "unit_test"))


def test_an_update_of_the_minutes_goes_on_as_before(loaded, exchange, typed):
    set_clock(exchange, "2024-01-06T01:00:30Z")
    said = expect(typed("update", "--lookback", "10"))
    assert f"{BTC}: 60 candles, 1 funding rate loaded" in said
    assert f"{ETH}: 60 candles, 1 funding rate loaded" in said
    expect(typed(*BUILD))
    assert rows(loaded, "select count(*) from perpetuals_ohlcv") == [(2 * (5 * 1440 + 60),)]


def test_no_cursor_is_made_at_the_longer_resolution(typed):
    assert "--instruments" in error_line(typed("update", "--resolution", "60"), 2)


def test_an_altered_minute_is_named_with_its_day_and_columns(exchange, typed):
    bad = {"kind": "bad_candle", "instrument": BTC, "at": ALTERED, "values": {"high": 1e6, "volume": 1e6}}
    set_faults(exchange, bad)
    again = ("backfill", "--instruments", BTC, "--start", "2024-01-03T12:00", "--end", "2024-01-03T12:01")
    expect(typed(*again))
    set_faults(exchange)
    expect(typed(*BUILD))
    said = expect(typed("reconcile", "--start", "2024-01-02"))
    assert f"{BTC} 1D: 2 identical, 1 different, 0 not whole, 0 missing in minutes" in said
    assert f"{BTC} 2024-01-03 08:00:00Z different: high, volume\n" in said
    assert "warning: 1 buckets" in said


def test_a_load_that_failed_is_owed_and_completed_by_the_next_reconcile(loaded, exchange, typed):
    hourly = ("reconcile", "--resolution", "120", "--instruments", BTC)
    refused = {"kind": "error", "code": -32602, "status": 400, "resolution": "120"}
    set_faults(exchange, refused)
    assert "-32602" in error_line(typed(*hourly))
    set_faults(exchange)
    expect(typed(*hourly, "--start", "2024-01-05"))
    counted = rows(loaded, "select count(*) from quality.exchange_bars where resolution = '120'")
    assert counted == [(5 * 12,)]


@pytest.mark.parametrize("resolution", ["1", "180", "7"])
def test_what_minutes_do_not_add_up_to_is_refused(resolution, typed):
    assert "resolution" in error_line(typed("reconcile", "--resolution", resolution), 2)


def test_an_audit_passes_until_something_differs(loaded, typed):
    assert expect(typed("audit")).endswith("audit passed\n")
    execute(loaded, "update quality.ohlcv_candle_days set candles = candles - 1 where day = '2024-01-02'")
    heals = "perps dbt -- run-operation reread_loads --args '{model: perpetuals_ohlcv}'"
    said = error_line(typed("audit"))
    assert heals in said and "audit_" in said
