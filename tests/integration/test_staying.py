"""`perps run --every`: a closed minute is in the tables within seconds, and whatever fails is tried again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.database.locks import run_lock
from extract.simulator import RunningSimulator
from tests.benchmarks.processes import children
from tests.support.exchange import BTC, ETH, charts, set_clock, set_faults
from tests.support.perps import Perps, error_line, expect
from tests.support.staying import Staying, staying
from tests.support.truth import execute, rows, table, truth
from tests.support.waiting import wait_until

START = "2024-01-01T00:00:00Z"
EXCHANGE = {"clock": "2024-01-03T00:00:30Z"}
NEWEST = "select max(timestamp) at time zone 'UTC' from {}"
ROLLUPS = ("5m", "15m", "1h", "4h", "1d", "1d_settlement")


@pytest.fixture(scope="module")
def run(
    module_database: Database,
    exchange: RunningSimulator,
    perps: Perps,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Staying]:
    """A run that has built two days and written its report."""
    backfill = ("backfill", "--instruments", BTC, ETH, "--start", START)
    expect(perps(*backfill, database=module_database, api=exchange.base_url))
    folder = tmp_path_factory.mktemp("staying")
    with staying(module_database, exchange, environment, folder) as started:
        started.settle()
        yield started


def test_after_its_first_turn_it_says_what_it_does_from_now_on(run):
    said = f"looking for new candles every 1 s; see {run.folder}/logs/perps.log\n"
    wait_until(lambda: said in run.said, "a line")


def test_a_closed_minute_is_in_the_table_and_in_every_rollup(run, exchange):
    set_clock(exchange, "2024-01-03T00:01:00Z")
    wait_until(lambda: run.has("2024-01-03T00:00Z"), "the minute")
    wait_until(
        lambda: all(
            rows(run.database, f"select sum(candles) from perpetuals_ohlcv_{rollup}") == [(2 * 2881,)]
            for rollup in ROLLUPS
        ),
        "its rollups",
    )
    for instrument in (BTC, ETH):
        assert table(run.database, instrument) == truth(
            exchange.base_url, instrument, START, "2024-01-03T00:01:00Z"
        )


def test_what_did_not_change_is_not_built(run):
    before = rows(run.database, "select max(read_at) from quality.watermarks")
    loads = rows(run.database, "select count(*) from deribit_raw._dlt_loads")[0][0]
    wait_until(
        lambda: rows(run.database, "select count(*) from deribit_raw._dlt_loads")[0][0] > loads + 1,
        "two loads",
    )
    assert rows(run.database, "select max(read_at) from quality.watermarks") == before


def test_everything_is_built_in_the_next_hour_and_gaps_are_fetched_on_the_next_day(run, exchange):
    revisions = "select read_to from quality.watermarks where relation = 'quality.ohlcv_revisions'"
    read, repairs = rows(run.database, revisions), run.log.count("repair: ")
    set_clock(exchange, "2024-01-03T01:00:00Z")
    wait_until(lambda: rows(run.database, revisions) > read, "a build of everything")
    assert run.log.count("repair: ") == repairs == 1
    set_clock(exchange, "2024-01-04T00:00:00Z")
    wait_until(lambda: run.log.count("report: ") == 2, "the second report", 90)
    assert run.log.count("repair: ") == 2
    assert "no gaps" in run.said


def test_it_is_healthy_while_it_works_and_not_when_nothing_new_comes(run, perps):
    asked = {"database": run.database, "api": run.exchange.base_url}
    said = expect(perps("health", **asked))
    assert said.startswith("healthy: candles until 2024-01-04 00:00:00Z, built ")
    assert said.endswith(" s ago, 2 instruments\n")
    late = perps("health", "--max-age", "1s", **asked)
    assert error_line(late).startswith("error: the table was last built from new candles ")


def test_metrics_say_what_it_did_and_how_fresh_the_table_is(run):
    metrics = run.metrics()
    newest = 'perps_newest_candle_timestamp_seconds{instrument="BTC-PERPETUAL"}'
    assert metrics[newest] == 1_704_326_400  # 2024-01-04, when the last closed candle ended
    assert metrics['perps_rows_landed_total{endpoint="candles"}'] == 2 * 1440
    assert metrics['perps_step_seconds_count{step="report"}'] == 2
    assert metrics['perps_step_failures_total{step="update"}'] == 0
    assert metrics["perps_requests_total"] >= len(charts(run.exchange))
    assert metrics["perps_table_readable"] == 1


def test_a_failure_is_said_once_and_its_end_too(run, exchange):
    with run_lock(run.database, wait_s=60):
        wait_until(lambda: run.log.count("ERROR extract.cli.staying update: another load") > 2, "three tries")
    set_clock(exchange, "2024-01-04T00:01:00Z")
    wait_until(lambda: run.has("2024-01-04T00:00Z"), "the minute")
    assert run.said.count("another load is using database") == 1
    assert run.said.count("update works again, after ") == 1


def test_a_dbt_process_that_is_killed_is_started_again(run, exchange):
    [builder] = [pid for pid in children(run.process.pid) if "spawn_main" in command_of(pid)]
    os.kill(builder, signal.SIGKILL)
    set_clock(exchange, "2024-01-04T00:02:00Z")
    wait_until(lambda: run.has("2024-01-04T00:01Z"), "the minute")


def test_a_broken_table_is_named_once_and_built_again_when_it_is_mended(run, exchange):
    execute(
        run.database,
        "alter table perpetuals_ohlcv_1d rename to kept_aside",
        "create table perpetuals_ohlcv_1d ()",
    )
    set_clock(exchange, "2024-01-04T00:03:00Z")
    wait_until(
        lambda: "build of a minute: dbt build failed: 1 model failed: perpetuals_ohlcv_1d" in run.said,
        "an error",
    )
    wait_until(lambda: run.has("2024-01-04T00:02Z"), "the minute, in the tables that are whole")
    execute(
        run.database, "drop table perpetuals_ohlcv_1d", "alter table kept_aside rename to perpetuals_ohlcv_1d"
    )
    wait_until(lambda: "build of a minute works again" in run.said, "a build")
    newest = "select candles from perpetuals_ohlcv_1d order by timestamp desc limit 2"
    assert rows(run.database, newest) == [(3,), (3,)]
    assert run.said.count("1 model failed") == 1


def test_funding_is_there_after_its_hour_and_its_outage_keeps_no_candle_out(run, exchange):
    hour = "select count(*) from perpetuals_funding where \"timestamp\" = '2024-01-04 {:02}:00+00'"
    assert rows(run.database, hour.format(0)) == [(2,)]
    set_faults(exchange, {"kind": "http", "status": 400, "method": "get_funding_rate_history"})
    set_clock(exchange, "2024-01-04T02:00:00Z")
    wait_until(lambda: run.has("2024-01-04T01:59Z"), "the minute")
    wait_until(lambda: "update of funding and settlements: could not fetch 2 of 2" in run.said, "an error")
    set_faults(exchange)
    set_clock(exchange, "2024-01-04T02:11:00Z")
    wait_until(lambda: rows(run.database, hour.format(2)) == [(2,)], "the funding of the hour")
    assert run.said.count("update of funding and settlements works again") == 1


def test_told_to_end_it_does_within_seconds(run):
    began = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(10) == 143
    assert time.monotonic() - began < 10
    # Python's resource tracker may have a word about the dbt process that was killed
    assert "\ninterrupted: what was loaded is safe, run the same command again\n" in run.said
    assert "Traceback" not in run.said
    with run_lock(run.database):
        pass


def test_a_table_that_is_to_read_all_loads_again_is_not_healthy(run, perps):
    execute(run.database, "update quality.watermarks set read_to = 0")
    said = error_line(perps("health", database=run.database, api=run.exchange.base_url))
    assert said == "error: the table has not read any load yet; run: perps dbt -- build"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--every", "0s"), "expected at least 1s in --every, such as 60s or 5m, got '0s'"),
        (("--every", "soon"), "expected at least 1s in --every, such as 60s or 5m, got 'soon'"),
        (("--every", "60s", "--at", "later"), "expected at least 0s in --at, such as 60s or 5m, got 'later'"),
        (("--at", "2s"), "--at needs --every; add it, such as --every 60s"),
        (("--metrics", "9464"), "--metrics needs --every; add it, such as --every 60s"),
        (
            ("--every", "60s", "--metrics", "no port"),
            "expected a free [ADDRESS:]PORT in --metrics, got 'no port'",
        ),
        (("--every", "60s"), "nothing is loaded yet; name instruments in --instruments"),
    ],
)
def test_what_cannot_be_meant_ends_it_at_once(typed, said, database, exchange, perps):
    ended = perps("run", *typed, database=database, api=exchange.base_url)
    assert said in error_line(ended, 2)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
