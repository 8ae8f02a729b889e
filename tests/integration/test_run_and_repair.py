"""`perps run` says what is wrong and still does what it can; `perps repair` asks for what is missing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from extract.simulator.faultparsing import parse_faults
from tests.support.exchange import BTC, charts, set_clock, set_faults
from tests.support.perps import Perps, error_line, expect
from tests.support.truth import execute, rows, table, truth

START, END = "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"
OUTAGE = {"kind": "outage", "instrument": BTC, "start": "2024-01-01T06:00:00Z", "end": "2024-01-01T06:12:00Z"}
EXCHANGE = {"clock": "2024-01-03T00:00:30Z", "faults": tuple(parse_faults([OUTAGE]))}
GAPS = "select gap_start::text, gap_end::text, gap_minutes, reason from quality.ohlcv_gaps order by 1"
SOURCE = ("2024-01-01 05:59:00+00", "2024-01-01 06:12:00+00", 12, "source")
UNFETCHED = ("2024-01-01 11:59:00+00", "2024-01-01 12:30:00+00", 30, "unfetched")


@pytest.fixture(scope="module")
def gapped(
    module_database: Database,
    exchange: RunningSimulator,
    perps: Perps,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Database, Path]:
    """A table with an outage of 12 minutes, and 30 minutes that no request was ever sent for."""
    folder = tmp_path_factory.mktemp("reports")
    typed = partial(perps, database=module_database, api=exchange.base_url)
    expect(typed("backfill", "--instruments", BTC, "--start", START))
    forget(module_database, "2024-01-01T12:00:00Z", "2024-01-01T12:30:00Z")
    result = typed("run", "--out", str(folder))
    assert error_line(result) == (
        "error: dbt build failed: 2 tests failed: perpetuals_ohlcv_coverage_99 (1 row), "
        "perpetuals_ohlcv_no_gaps (1 row); see its output above, run: perps report"
    )
    return module_database, folder


@pytest.fixture
def typed(gapped: tuple[Database, Path], exchange: RunningSimulator, perps: Perps) -> Perps:
    return partial(perps, database=gapped[0], api=exchange.base_url)


def forget(database: Database, start: str, end: str) -> None:
    """Remove the candles of a range, and that it was ever asked for."""
    with database.reading() as cursor:
        bounds = {"start": start, "end": end}
        cursor.execute(
            'delete from deribit_raw.candles where "timestamp" >= %(start)s and "timestamp" < %(end)s', bounds
        )
        cursor.execute(
            "with cut as (delete from deribit_raw.fetches where endpoint = 'candles'"
            " and window_start < %(end)s and window_end > %(start)s returning *)"
            " insert into deribit_raw.fetches (instrument, endpoint, resolution, window_start, window_end,"
            " rows, new_rows, changed_rows, fetched_at, origin, _dlt_load_id)"
            " select instrument, endpoint, resolution, part.a, part.b, 1, new_rows, 0, fetched_at, origin,"
            " _dlt_load_id"
            " from cut cross join lateral (values (window_start, least(window_end, %(start)s)),"
            " (greatest(window_start, %(end)s), window_end)) as part (a, b) where part.a < part.b",
            bounds,
        )


def test_each_gap_has_its_reason(gapped):
    assert rows(gapped[0], GAPS) == [SOURCE, UNFETCHED]


def test_what_is_there_is_in_the_table_all_the_same(gapped, exchange):
    lost = range(1_704_110_400_000, 1_704_112_200_000)
    expected = [row for row in truth(exchange.base_url, BTC, START, END) if row[0] not in lost]
    assert table(gapped[0]) == expected
    assert rows(gapped[0], "select missing, coverage_percent::text from quality.ohlcv_coverage") == [
        (42, "98.5416")
    ]


def test_a_dry_run_asks_nothing(exchange, typed):
    exchange.simulator.log.clear()
    first, second = expect(typed("repair", "--dry-run")).splitlines()
    assert first.endswith("2024-01-01 06:12:00Z: 12 candles missing (source)")
    assert second.endswith("2024-01-01 12:30:00Z: 30 candles missing (unfetched)")
    assert len(exchange.simulator.log) == 0


def test_repair_asks_for_the_gaps_and_nothing_else(gapped, exchange, typed):
    said = expect(typed("repair"))
    assert "06:12:00Z: 0 of 12 candles found, 12 not at deribit" in said
    assert "12:30:00Z: 30 of 30 candles found, 0 not at deribit" in said
    assert said.endswith("next: perps dbt -- build\n")
    minute = 60_000
    source, unfetched = 1_704_088_740_000, 1_704_110_340_000  # 05:59, 11:59
    asked = charts(exchange)
    assert {(entry.start, entry.end) for entry in asked if entry.start > unfetched - 10 * minute} == {
        (unfetched - minute, unfetched + 32 * minute - 1)
    }
    others = [entry for entry in asked if entry.start < unfetched - 10 * minute]
    assert min(entry.start for entry in others) >= source - 4 * minute
    assert max(entry.end for entry in others) < source + 14 * minute
    assert len(others) == 3

    expect(typed("dbt", "--", "build"))
    assert rows(gapped[0], GAPS) == [SOURCE]


def test_a_second_repair_within_a_day_asks_nothing(exchange, typed):
    exchange.simulator.log.clear()
    said = expect(typed("repair"))
    assert {entry.method for entry in exchange.simulator.log} == {"get_time"}
    assert "skipped BTC-PERPETUAL between 2024-01-01 05:59:00Z" in said
    assert "due again at 2024-01-04 00:00:30Z" in said
    assert typed("repair", "--dry-run").stdout.startswith("skipped")


def test_a_known_gap_is_not_asked_for(gapped, typed):
    entry = f"'{BTC}', '2024-01-01 05:59+00', '2024-01-01 06:12+00', 'a test', 'the simulator'"
    execute(gapped[0], f"insert into quality.known_gaps values ({entry})")
    assert typed("repair", "--again").stdout == "no gaps\n"
    execute(gapped[0], "delete from quality.known_gaps")


def test_a_day_later_the_source_is_asked_again(exchange, typed):
    set_clock(exchange, "2024-01-04T00:00:31Z")
    exchange.simulator.log.clear()
    assert "0 of 12 candles found" in typed("repair").stdout
    assert len(charts(exchange)) == 3


def test_again_asks_whatever_the_last_time_was(gapped, exchange, typed):
    database, _ = gapped
    set_faults(exchange)
    exchange.simulator.log.clear()
    assert "12 of 12 candles found, 0 not at deribit" in typed("repair", "--again").stdout
    assert len(charts(exchange)) == 1

    for command in (("update",), ("dbt", "--", "run", "--select", "+ohlcv_gaps")):
        expect(typed(*command))
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-04T00:00:00Z")
    assert len(table(database)) == 3 * 1440
    exchange.simulator.log.clear()
    assert typed("repair").stdout == "no gaps\n"
    assert len(exchange.simulator.log) == 0


def test_a_run_with_repair_mends_what_its_first_build_finds(gapped, exchange, typed):
    database, folder = gapped
    set_clock(exchange, "2024-01-04T06:00:30Z")
    expect(typed("update"))
    forget(database, "2024-01-04T02:00:00Z", "2024-01-04T03:00:00Z")
    run = ("run", "--repair", "--out", str(folder))
    said = expect(typed(*run))
    assert "60 of 60 candles found" in said
    assert said.count("Completed") == 2
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-04T06:00:00Z")

    said = expect(typed(*run))
    assert said.count("Completed") == 1
    assert "no gaps" in said


def test_a_not_a_number_is_reported_and_fails_the_run_until_it_is_corrected(gapped, exchange, typed):
    database, folder = gapped
    bad = {"kind": "bad_candle", "instrument": BTC, "at": "2024-01-04T06:10:00Z", "values": {"close": "NaN"}}
    set_faults(exchange, bad)
    set_clock(exchange, "2024-01-04T07:00:00Z")
    result = typed("run", "--repair", "--out", str(folder))
    assert result.returncode == 1
    assert result.stdout.count("no_rejected_candles") >= 2
    assert "0 of 1 candles found, 0 not at deribit, 1 unusable" in result.stdout
    rejected = rows(database, 'select "timestamp"::text, close::text, reason from quality.rejected_candles')
    # of the update's load: the repair's answer was the same
    assert rejected == [("2024-01-04 06:10:00+00", "NaN", "not_a_number")]
    assert rows(database, "select count(*) from perpetuals_ohlcv") == [(3 * 1440 + 7 * 60 - 1,)]

    set_faults(exchange)
    assert "skipped" in typed("repair").stdout
    assert "1 of 1 candles found" in typed("repair", "--again").stdout
    expect(typed("run", "--out", str(folder)))
    assert table(database) == truth(exchange.base_url, BTC, START, "2024-01-04T07:00:00Z")


def test_a_run_without_the_api_still_builds_and_reports(typed, tmp_path):
    result = typed("run", "--out", str(tmp_path), api="http://127.0.0.1:9/api/v2")
    assert "http://127.0.0.1:9" in error_line(result)
    assert "Completed" in result.stdout
    assert (tmp_path / "row-counts.txt").exists()
