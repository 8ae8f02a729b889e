"""`perps run` says what is wrong and still does what it can; `perps repair` asks for what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.conftest import Perps
from tests.support.truth import control, rows, table, truth

BTC = "BTC-PERPETUAL"
START, END = "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"
OUTAGE = {"kind": "outage", "instrument": BTC, "start": "2024-01-01T06:00:00Z", "end": "2024-01-01T06:12:00Z"}
GAPS = "select gap_start::text, gap_end::text, gap_minutes, reason from quality.ohlcv_gaps order by 1"
SOURCE = ("2024-01-01 05:59:00+00", "2024-01-01 06:12:00+00", 12, "source")
UNFETCHED = ("2024-01-01 11:59:00+00", "2024-01-01 12:30:00+00", 30, "unfetched")


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    config = SimulatorConfig(clock="2024-01-03T00:00:30Z", requests_per_second=None)
    with running(config) as simulated:
        control(simulated.base_url, "faults", [OUTAGE])
        yield simulated


@pytest.fixture(scope="module")
def gapped(
    module_database: Database,
    exchange: RunningSimulator,
    perps: Perps,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Database, Path]:
    """A table with an outage of 12 minutes, and 30 minutes that no request was ever sent for."""
    folder = tmp_path_factory.mktemp("reports")
    loaded = perps(
        "backfill", "--instruments", BTC, "--start", START, database=module_database, api=exchange.base_url
    )
    assert loaded.returncode == 0, loaded.stderr
    forget(module_database, "2024-01-01T12:00:00Z", "2024-01-01T12:30:00Z")
    result = perps("run", "--out", str(folder), database=module_database, api=exchange.base_url)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "error: expected dbt build to succeed, 2 tests failed: perpetuals_ohlcv_coverage_99 (1 row), "
        "perpetuals_ohlcv_no_gaps (1 row); see its output above, run: perps report"
    )
    return module_database, folder


def forget(database: Database, start: str, end: str) -> None:
    """Remove the candles of a range, and that it was ever asked for."""
    opened = database.connect()
    with opened.cursor() as cursor:
        bounds = {"start": start, "end": end}
        cursor.execute(
            'delete from deribit_raw.candles where "timestamp" >= %(start)s and "timestamp" < %(end)s', bounds
        )
        cursor.execute(
            "with cut as (delete from deribit_raw.fetches where window_start < %(end)s"
            " and window_end > %(start)s returning *)"
            " insert into deribit_raw.fetches (instrument, resolution, window_start, window_end, rows,"
            " new_rows, changed_rows, fetched_at, origin, _dlt_load_id)"
            " select instrument, resolution, part.a, part.b, 1, new_rows, 0, fetched_at, origin, _dlt_load_id"
            " from cut cross join lateral (values (window_start, least(window_end, %(start)s)),"
            " (greatest(window_start, %(end)s), window_end)) as part (a, b) where part.a < part.b",
            bounds,
        )
    opened.close()


def requests(exchange: RunningSimulator, method: str = "get_tradingview_chart_data") -> list:
    return [entry for entry in exchange.simulator.log if entry.method == method]


def test_each_gap_has_its_reason(gapped):
    assert rows(gapped[0], GAPS) == [SOURCE, UNFETCHED]


def test_a_gap_is_in_the_report(gapped):
    _, folder = gapped
    text = (folder / "gap-report.csv").read_text()
    assert f"{BTC},2024-01-01T05:59:00Z,2024-01-01T06:12:00Z,12" in text
    assert f"{BTC},2024-01-01T11:59:00Z,2024-01-01T12:30:00Z,30" in text


def test_what_is_there_is_in_the_table_all_the_same(gapped, exchange):
    lost = range(1_704_110_400_000, 1_704_112_200_000)
    expected = [row for row in truth(exchange.base_url, BTC, START, END) if row[0] not in lost]
    assert table(gapped[0]) == expected
    assert rows(gapped[0], "select missing, coverage_percent::text from quality.ohlcv_coverage") == [
        (42, "98.5416")
    ]


def test_a_dry_run_asks_nothing(gapped, exchange, perps):
    exchange.simulator.log.clear()
    result = perps("repair", "--dry-run", database=gapped[0], api=exchange.base_url)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first.endswith("2024-01-01 06:12:00Z: 12 candles missing (source)")
    assert second.endswith("2024-01-01 12:30:00Z: 30 candles missing (unfetched)")
    assert len(exchange.simulator.log) == 0


def test_repair_asks_for_the_gaps_and_nothing_else(gapped, exchange, perps):
    database, _ = gapped
    result = perps("repair", database=database, api=exchange.base_url)
    assert result.returncode == 0, result.stderr
    assert "06:12:00Z: 0 of 12 candles found, 12 not at the source" in result.stdout
    assert "12:30:00Z: 30 of 30 candles found, 0 not at the source" in result.stdout
    assert result.stdout.endswith("next: perps dbt -- build\n")
    minute = 60_000
    source, unfetched = 1_704_088_740_000, 1_704_110_340_000  # 05:59, 11:59
    asked = requests(exchange)
    assert {(entry.start, entry.end) for entry in asked if entry.start > unfetched - 10 * minute} == {
        (unfetched - minute, unfetched + 32 * minute - 1)
    }
    others = [entry for entry in asked if entry.start < unfetched - 10 * minute]
    assert min(entry.start for entry in others) >= source - 4 * minute
    assert max(entry.end for entry in others) < source + 14 * minute
    assert len(others) == 3

    built = perps("dbt", "--", "build", database=database)
    assert built.returncode == 0, built.stdout
    assert rows(database, GAPS) == [SOURCE]


def test_a_second_repair_within_a_day_asks_nothing(gapped, exchange, perps):
    database, _ = gapped
    exchange.simulator.log.clear()
    again = perps("repair", database=database, api=exchange.base_url)
    assert again.returncode == 0, again.stderr
    assert {entry.method for entry in exchange.simulator.log} == {"get_time"}
    assert "skipped BTC-PERPETUAL between 2024-01-01 05:59:00Z" in again.stdout
    assert "asked again from 2024-01-04 00:00:30Z on" in again.stdout
    planned = perps("repair", "--dry-run", database=database, api=exchange.base_url)
    assert planned.stdout.startswith("skipped")


def test_a_known_gap_is_not_asked_for(gapped, exchange, perps):
    database, _ = gapped
    opened = database.connect()
    with opened.cursor() as cursor:
        cursor.execute(
            "insert into quality.known_gaps (instrument, gap_start, gap_end, reason, evidence) values"
            " (%s, '2024-01-01 05:59+00', '2024-01-01 06:12+00', 'a test', 'the simulator')",
            [BTC],
        )
        result = perps("repair", "--again", database=database, api=exchange.base_url)
        cursor.execute("delete from quality.known_gaps")
    opened.close()
    assert result.stdout == "no gaps\n"


def test_a_day_later_the_source_is_asked_again(gapped, exchange, perps):
    database, _ = gapped
    control(exchange.base_url, "clock", {"now": "2024-01-04T00:00:31Z"})
    exchange.simulator.log.clear()
    later = perps("repair", database=database, api=exchange.base_url)
    assert "0 of 12 candles found" in later.stdout
    assert len(requests(exchange)) == 3


def test_again_asks_whatever_the_last_time_was(gapped, exchange, perps):
    database, folder = gapped
    control(exchange.base_url, "faults", [])
    exchange.simulator.log.clear()
    filled = perps("repair", "--again", database=database, api=exchange.base_url)
    assert "12 of 12 candles found, 0 not at the source" in filled.stdout
    assert len(requests(exchange)) == 1

    again = perps("run", "--out", str(folder), database=database, api=exchange.base_url)
    assert again.returncode == 0, again.stdout + again.stderr
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-04T00:00:00Z")
    assert len(table(database)) == 3 * 1440
    exchange.simulator.log.clear()
    assert perps("repair", database=database, api=exchange.base_url).stdout == "no gaps\n"
    assert len(exchange.simulator.log) == 0


def test_a_run_with_repair_mends_what_its_first_build_finds(gapped, exchange, perps):
    database, folder = gapped
    control(exchange.base_url, "clock", {"now": "2024-01-04T06:00:30Z"})
    assert perps("update", database=database, api=exchange.base_url).returncode == 0
    forget(database, "2024-01-04T02:00:00Z", "2024-01-04T03:00:00Z")
    run = ("run", "--repair", "--out", str(folder))
    result = perps(*run, database=database, api=exchange.base_url)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "60 of 60 candles found" in result.stdout
    assert result.stdout.count("Completed") == 2
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-04T06:00:00Z")

    nothing = perps(*run, database=database, api=exchange.base_url)
    assert nothing.returncode == 0, nothing.stdout + nothing.stderr
    assert nothing.stdout.count("Completed") == 1
    assert "no gaps" in nothing.stdout


def test_a_not_a_number_is_reported_and_fails_the_run_until_it_is_corrected(gapped, exchange, perps):
    database, folder = gapped
    bad = {"kind": "bad_candle", "instrument": BTC, "at": "2024-01-04T06:10:00Z", "values": {"close": "NaN"}}
    control(exchange.base_url, "faults", [bad])
    control(exchange.base_url, "clock", {"now": "2024-01-04T07:00:00Z"})
    result = perps("run", "--repair", "--out", str(folder), database=database, api=exchange.base_url)
    assert result.returncode == 1
    assert result.stdout.count("no_rejected_candles") >= 2
    assert "0 of 1 candles found, 0 not at the source, 1 unusable" in result.stdout
    rejected = rows(database, 'select "timestamp"::text, close::text, reason from quality.rejected_candles')
    # of the update's load: the repair's answer was the same
    assert rejected == [("2024-01-04 06:10:00+00", "NaN", "not_a_number")]
    assert rows(database, "select count(*) from perpetuals_ohlcv") == [(3 * 1440 + 7 * 60 - 1,)]

    control(exchange.base_url, "faults", [])
    assert "skipped" in perps("repair", database=database, api=exchange.base_url).stdout
    mended = perps("repair", "--again", database=database, api=exchange.base_url)
    assert "1 of 1 candles found" in mended.stdout
    corrected = perps("run", "--out", str(folder), database=database, api=exchange.base_url)
    assert corrected.returncode == 0, corrected.stdout
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-04T07:00:00Z")


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
    assert (
        "expected base_resolution 1, which public.perpetuals_ohlcv was built with, got 60" in refused.stdout
    )
    assert rows(database, view) == before
