"""The whole flow against the simulator at Deribit's limits: 1 January to 1 March 2024, two perpetuals."""

from __future__ import annotations

from typing import Any

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, ETH, charts, set_clock
from tests.support.perps import Perps, expect
from tests.support.truth import checksum, rows, table, truth

START, END = "2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z"
EXCHANGE = {"clock": END, "requests_per_second": 20}
DAYS = 60
CANDLES = DAYS * 1440
BUILD = ("dbt", "--", "build", "--exclude-resource-type", "unit_test")
BACKFILL = ("backfill", "--instruments", f"{BTC},{ETH}", "--start", "2024-01-01", "--end", "2024-03-01")


@pytest.fixture(scope="module")
def loaded(module_database: Database, exchange: RunningSimulator, perps: Perps) -> Database:
    expect(perps(*BACKFILL, database=module_database, api=exchange.base_url))
    expect(perps("dbt", "--", "build", database=module_database))
    return module_database


def test_the_table_equals_the_exchange_row_by_row(loaded, exchange):
    for instrument in (BTC, ETH):
        expected = truth(exchange.base_url, instrument, START, END)
        assert len(expected) == CANDLES
        assert table(loaded, instrument) == expected


def test_the_budget_was_never_exceeded(loaded, exchange):
    served = [entry.at for entry in charts(exchange)]
    assert len(served) >= 2 * CANDLES / 5000
    assert not any(entry.limited for entry in exchange.simulator.log)
    for at, moment in enumerate(served):
        within = sum(moment <= later < moment + 2 for later in served[at:])
        assert within <= 20 + 2 * 20 + 8  # the burst, two seconds' worth, and what was in flight


def test_raw_candles_are_a_hypertable_with_an_index_of_loads_and_times(loaded):
    found = rows(
        loaded,
        "select hypertable_name, num_dimensions from timescaledb_information.hypertables"
        " where hypertable_schema = 'deribit_raw' order by 1",
    )
    assert found == [("candles", 1), ("funding", 1), ("settlements", 1)]
    [(index,)] = rows(loaded, "select indexdef from pg_indexes where tablename = 'candles'")
    assert 'USING brin (_dlt_load_id, "timestamp")' in index


def test_raw_candles_hold_exactly_what_the_json_said(loaded, exchange):
    stored = rows(
        loaded,
        "select open, high, low, close, volume, cost from deribit_raw.candles"
        ' where instrument = %s and "timestamp" < \'2024-01-02\' order by "timestamp"',
        BTC,
    )
    market = exchange.simulator.market.minutes(BTC, 1_704_067_200_000, 1_704_153_540_000)
    columns = (market.open, market.high, market.low, market.close, market.volume, market.cost)
    assert stored == [tuple(float(value) for value in row) for row in zip(*columns, strict=True)]


def test_fetches_account_for_every_minute_that_was_wanted_once(loaded):
    found = rows(
        loaded,
        "select instrument, min(window_start)::text, max(window_end)::text,"
        " (extract(epoch from sum(window_end - window_start)) / 86400)::integer, sum(rows)::bigint,"
        " min(origin), max(origin)"
        " from deribit_raw.fetches where endpoint = 'candles'"
        " and _dlt_load_id in (select load_id from deribit_raw._dlt_loads order by inserted_at limit 2)"
        " group by 1 order by 1",
    )
    days = ("2024-01-01 00:00:00+00", "2024-03-01 00:00:00+00", DAYS)
    whole = (*days, CANDLES, "simulator", "simulator")
    assert found == [(BTC, *whole), (ETH, *whole)]


def versions(database: Database) -> list[Any]:
    """Return what a written row would change: a transaction's number, or a compressed chunk's state."""
    if rows(database, "show timescaledb.license") == [("apache",)]:
        return rows(database, "select max(xmin::text::bigint), count(*) from perpetuals_ohlcv")
    return rows(
        database,
        "select chunk, _timescaledb_functions.chunk_status(chunk), pg_total_relation_size(chunk)"
        " from show_chunks('perpetuals_ohlcv') as chunk order by 1",
    )


def test_a_second_identical_run_changes_no_row(loaded, exchange, perps):
    before = checksum(loaded)
    written = versions(loaded)
    expect(perps(*BACKFILL, database=loaded, api=exchange.base_url))
    expect(perps(*BUILD, database=loaded))
    assert rows(loaded, "select count(*) from deribit_raw.candles")[0][0] == 2 * CANDLES
    assert checksum(loaded) == before
    assert versions(loaded) == written


def test_three_hours_later_an_update_adds_180_rows_an_instrument(loaded, exchange, perps):
    set_clock(exchange, "2024-03-01T03:00:30Z")
    expect(perps("update", database=loaded, api=exchange.base_url))
    expect(perps(*BUILD, database=loaded))
    counted = rows(
        loaded,
        'select instrument, count(*), max("timestamp")::text from perpetuals_ohlcv group by 1 order by 1',
    )
    newest = "2024-03-01 02:59:00+00"
    assert counted == [(BTC, CANDLES + 180, newest), (ETH, CANDLES + 180, newest)]
    assert table(loaded, BTC)[-180:] == truth(exchange.base_url, BTC, END, "2024-03-01T03:00:00Z")
