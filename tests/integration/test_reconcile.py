"""`perps reconcile` and `perps audit`: Deribit's longer candles, and everything recomputed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.integration.conftest import BUILD
from tests.support.truth import control, rows

BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
NOW = "2024-01-06T00:00:30Z"
ALTERED = "2024-01-03T12:00:00Z"


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock=NOW, requests_per_second=None)) as simulated:
        yield simulated


def test_minutes_add_up_to_deribits_days(loaded, exchange, perps):
    result = perps("reconcile", database=loaded, api=exchange.base_url)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in (BTC, ETH):
        # 31 December 08:00 is not whole: the table begins at midnight
        line = f"{name} 1D: 4 identical, 0 different, 1 not whole, 0 missing in minutes, 0 missing at deribit"
        assert line in result.stdout
        assert f"{name} 2023-12-31 08:00:00Z different: " in result.stdout
    assert result.stdout.count("(480 of 1,440 candles)") == 2
    assert "warning:" not in result.stdout


def test_hours_of_one_instrument_and_range(loaded, exchange, perps):
    exchange.simulator.log.clear()
    arguments = ("--resolution", "60", "--instruments", ETH, "--start", "2024-01-02", "--end", "2024-01-03")
    result = perps("reconcile", *arguments, database=loaded, api=exchange.base_url)
    assert f"{ETH} 60: 24 identical, 0 different" in result.stdout
    asked = [entry for entry in exchange.simulator.log if entry.method == "get_tradingview_chart_data"]
    assert [(entry.instrument, entry.resolution) for entry in asked] == [(ETH, "60")]


def test_bars_do_not_make_what_stands_on_minutes_look_behind(loaded, exchange, perps):
    assert perps("reconcile", database=loaded, api=exchange.base_url).returncode == 0
    tested = perps("dbt", "--", "test", "--exclude-resource-type", "unit_test", database=loaded)
    assert tested.returncode == 0, tested.stdout


def test_an_update_of_the_minutes_goes_on_as_before(loaded, exchange, perps):
    control(exchange.base_url, "clock", {"now": "2024-01-06T01:00:30Z"})
    result = perps("update", "--lookback", "10", database=loaded, api=exchange.base_url)
    assert result.returncode == 0, result.stderr
    assert f"{BTC}: 60 candles landed" in result.stdout
    assert f"{ETH}: 60 candles landed" in result.stdout
    built = perps(*BUILD, database=loaded)
    assert built.returncode == 0, built.stdout
    assert rows(loaded, "select count(*) from perpetuals_ohlcv") == [(2 * (5 * 1440 + 60),)]


def test_no_cursor_is_made_at_the_longer_resolution(loaded, exchange, perps):
    result = perps("update", "--resolution", "60", database=loaded, api=exchange.base_url)
    assert result.returncode == 2
    assert "expected --instruments, because nothing is loaded yet" in result.stderr


def test_an_altered_minute_is_named_with_its_day_and_columns(loaded, exchange, perps):
    bad = {"kind": "bad_candle", "instrument": BTC, "at": ALTERED, "values": {"high": 1e6, "volume": 1e6}}
    control(exchange.base_url, "faults", [bad])
    again = ("backfill", "--instruments", BTC, "--start", "2024-01-03T12:00", "--end", "2024-01-03T12:01")
    assert perps(*again, database=loaded, api=exchange.base_url).returncode == 0
    control(exchange.base_url, "faults", [])
    assert perps(*BUILD, database=loaded).returncode == 0
    result = perps("reconcile", "--start", "2024-01-02", database=loaded, api=exchange.base_url)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{BTC} 1D: 2 identical, 1 different, 0 not whole, 0 missing in minutes" in result.stdout
    assert f"{BTC} 2024-01-03 08:00:00Z different: high, volume\n" in result.stdout
    assert "warning: 1 buckets have all candles and are not what deribit says" in result.stdout


def test_a_load_that_failed_is_owed_and_completed_by_the_next_reconcile(loaded, exchange, perps):
    hourly = ("reconcile", "--resolution", "120", "--instruments", BTC)
    refused = {"kind": "error", "code": -32602, "status": 400, "resolution": "120"}
    control(exchange.base_url, "faults", [refused])
    failed = perps(*hourly, database=loaded, api=exchange.base_url)
    assert failed.returncode == 1
    assert "deribit answered -32602" in failed.stderr
    control(exchange.base_url, "faults", [])
    result = perps(*hourly, "--start", "2024-01-05", database=loaded, api=exchange.base_url)
    assert result.returncode == 0, result.stderr
    counted = rows(loaded, "select count(*) from quality.exchange_bars where resolution = '120'")
    assert counted == [(5 * 12,)]


@pytest.mark.parametrize("resolution", ["1", "180", "360", "7"])
def test_what_minutes_do_not_add_up_to_is_refused(resolution, loaded, exchange, perps):
    result = perps("reconcile", "--resolution", resolution, database=loaded, api=exchange.base_url)
    assert result.returncode == 2


def test_an_audit_passes_until_something_differs(loaded, perps):
    passed = perps("audit", database=loaded)
    assert passed.returncode == 0, passed.stdout
    assert passed.stdout.endswith("audit passed\n")
    opened = loaded.connect()
    with opened.cursor() as cursor:
        cursor.execute("update quality.ohlcv_candle_days set candles = candles - 1 where day = '2024-01-02'")
    opened.close()
    failed = perps("audit", database=loaded)
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("error: expected dbt test to succeed, ")
    assert "audit_" in last
    assert "perps dbt -- run-operation reread_loads --args '{model: perpetuals_ohlcv}'" in last
