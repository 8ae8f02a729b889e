"""`perps run` says what is wrong and still does what it can; `perps repair` asks for what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.server.connection import Connection
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.conftest import Perps
from tests.integration.truth import control, rows, table, truth

BTC = "BTC-PERPETUAL"
START, END = "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"
OUTAGE = {"kind": "outage", "instrument": BTC, "start": "2024-01-01T06:00:00Z", "end": "2024-01-01T06:12:00Z"}


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    config = SimulatorConfig(clock="2024-01-03T00:00:30Z", requests_per_second=None)
    with running(config) as simulated:
        control(simulated.base_url, "faults", [OUTAGE])
        yield simulated


@pytest.fixture(scope="module")
def gapped(
    module_database: Connection,
    exchange: RunningSimulator,
    perps: Perps,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Connection, Path]:
    folder = tmp_path_factory.mktemp("reports")
    loaded = perps(
        "backfill", "--instruments", BTC, "--start", START, database=module_database, api=exchange.base_url
    )
    assert loaded.returncode == 0, loaded.stderr
    result = perps("run", "--out", str(folder), database=module_database, api=exchange.base_url)
    assert result.returncode == 1
    assert "error: expected dbt build to pass" in result.stderr
    assert "perpetuals_ohlcv_no_gaps" in result.stdout
    return module_database, folder


def test_a_gap_fails_the_run_and_is_in_the_report(gapped):
    _, folder = gapped
    assert (folder / "gap-report.csv").read_text().splitlines() == [
        "instrument,gap_start,gap_end,gap_minutes",
        f"{BTC},2024-01-01T05:59:00Z,2024-01-01T06:12:00Z,12",
    ]


def test_what_is_there_is_in_the_table_all_the_same(gapped, exchange):
    assert table(gapped[0]) == truth(exchange.base_url, BTC, START, END)
    assert rows(gapped[0], "select missing, coverage_percent::text from quality.ohlcv_coverage") == [
        (12, "99.5833")
    ]


def test_a_dry_run_asks_nothing(gapped, exchange, perps):
    exchange.simulator.log.clear()
    result = perps("repair", "--dry-run", database=gapped[0], api=exchange.base_url)
    assert result.returncode == 0
    assert "12 candles missing" in result.stdout
    assert len(exchange.simulator.log) == 0


def test_repair_finds_what_the_source_has_by_now_and_nothing_else(gapped, exchange, perps):
    database, folder = gapped
    nothing = perps("repair", database=database, api=exchange.base_url)
    assert nothing.returncode == 0, nothing.stderr
    assert "0 of 12 candles found, 12 not at the source" in nothing.stdout

    control(exchange.base_url, "faults", [])
    exchange.simulator.log.clear()
    filled = perps("repair", database=database, api=exchange.base_url)
    assert "12 of 12 candles found, 0 not at the source" in filled.stdout
    charts = [entry for entry in exchange.simulator.log if entry.method == "get_tradingview_chart_data"]
    assert len(charts) == 1

    again = perps("run", "--out", str(folder), database=database, api=exchange.base_url)
    assert again.returncode == 0, again.stdout + again.stderr
    assert table(database) == truth(exchange.base_url, BTC, START, END)
    assert len(table(database)) == 2 * 1440
    assert perps("repair", database=database, api=exchange.base_url).stdout == "no gaps\n"


def test_a_not_a_number_is_reported_and_fails_the_run_until_it_is_corrected(gapped, exchange, perps):
    database, folder = gapped
    bad = {"kind": "bad_candle", "instrument": BTC, "at": "2024-01-03T00:10:00Z", "values": {"close": "NaN"}}
    control(exchange.base_url, "faults", [bad])
    control(exchange.base_url, "clock", {"now": "2024-01-03T01:00:00Z"})
    result = perps("run", "--out", str(folder), database=database, api=exchange.base_url)
    assert result.returncode == 1
    assert "no_rejected_candles" in result.stdout
    rejected = rows(database, 'select "timestamp"::text, close::text, reason from quality.rejected_candles')
    assert rejected == [("2024-01-03 00:10:00+00", "NaN", "not_a_number")]
    assert rows(database, "select count(*) from perpetuals_ohlcv") == [(2 * 1440 + 59,)]

    control(exchange.base_url, "faults", [])
    assert perps("repair", database=database, api=exchange.base_url).returncode == 0
    corrected = perps("run", "--out", str(folder), database=database, api=exchange.base_url)
    assert corrected.returncode == 0, corrected.stdout
    assert "WARN 1 no_replaced_candles" in corrected.stdout
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-03T01:00:00Z")


def test_a_run_without_the_api_still_builds_and_reports(gapped, perps, tmp_path):
    result = perps("run", "--out", str(tmp_path), database=gapped[0], api="http://127.0.0.1:9/api/v2")
    assert result.returncode == 1
    assert "error: expected the deribit api at http://127.0.0.1:9" in result.stderr
    assert "Completed" in result.stdout
    assert (tmp_path / "row-counts.txt").exists()


def test_another_resolution_is_refused_before_anything_is_touched(gapped, perps, home):
    database, _ = gapped
    view = "select pg_get_viewdef('staging.stg_candles'::regclass)"
    before = rows(database, view)
    hourly = ("dbt", "--", "run", "--vars", '{base_resolution: "60"}')
    refused = perps(*hourly, database=database, env={"DBT_TARGET_PATH": str(home / "target-hourly")})
    assert refused.returncode == 1
    assert "expected base_resolution 1, which this database was built with, got 60" in refused.stdout
    assert rows(database, view) == before
