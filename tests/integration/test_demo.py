"""`perps demo` as a new user runs it: what it prints and leaves, and that the table is the exchange's."""

from __future__ import annotations

import shlex
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from extract.cli.demo import QUERY
from extract.cli.parser import build_parser
from extract.database.database import Database
from extract.embedded.cluster import Cluster
from extract.simulator.market import Market
from tests.conftest import Perps
from tests.support.truth import rounded, rows, table

CANDLES = 30 * 1440


@pytest.fixture(scope="module")
def demo(server: Cluster, perps: Perps) -> subprocess.CompletedProcess[str]:
    result = perps("demo", "--out", "demo-reports")
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def made(demo: object, server: Cluster) -> Database:
    return server.database(dbname="perps_demo")


def test_the_table_has_the_seven_columns_of_the_contract(made):
    columns = rows(
        made,
        "select column_name, data_type, numeric_precision, numeric_scale, is_nullable"
        " from information_schema.columns"
        " where table_schema = 'public' and table_name = 'perpetuals_ohlcv' order by ordinal_position",
    )
    assert columns == [
        ("timestamp", "timestamp with time zone", None, None, "NO"),
        ("instrument", "text", None, None, "NO"),
        *((name, "numeric", 18, 8, "NO") for name in ("open", "high", "low", "close", "volume")),
    ]


def test_the_table_is_a_hypertable_with_its_key_and_its_index(made):
    dimensions = rows(
        made,
        "select hypertable_schema, column_name, dimension_number from timescaledb_information.dimensions"
        " where hypertable_name = 'perpetuals_ohlcv'",
    )
    assert dimensions == [("public", "timestamp", 1)]
    indexes = rows(
        made,
        "select indexdef from pg_indexes where schemaname = 'public' and tablename = 'perpetuals_ohlcv'"
        " order by 1",
    )
    assert [definition.split(" ON ")[1] for (definition,) in indexes] == [
        'public.perpetuals_ohlcv USING btree (instrument, "timestamp" DESC)',
        'public.perpetuals_ohlcv USING btree ("timestamp", instrument)',
    ]
    assert rows(
        made,
        "select conname from pg_constraint where conrelid = 'perpetuals_ohlcv'::regclass and contype = 'p'",
    )
    assert rows(made, "select to_regclass('idx_perpetuals_instrument')::text") == [
        ("idx_perpetuals_instrument",)
    ]


@pytest.mark.parametrize("instrument", ["BTC-PERPETUAL", "ETH-PERPETUAL"])
def test_the_table_equals_the_simulators_truth_row_by_row(made, instrument):
    stored = table(made, instrument)
    assert len(stored) == CANDLES
    market = Market(7).minutes(instrument, stored[0][0], stored[-1][0])
    columns = (market.open, market.high, market.low, market.close, market.volume)
    values = zip(*[[rounded(repr(float(value))) for value in column] for column in columns], strict=True)
    assert stored == [(int(tick), instrument, *row) for tick, row in zip(market.ticks, values, strict=True)]
    assert isinstance(stored[0][2], Decimal)


def test_it_says_that_the_candles_are_synthetic(demo, environment):
    assert "SYNTHETIC" in demo.stdout
    counts = Path(environment["PERPS_HOME"], "demo-reports/demo/row-counts.txt").read_text()
    assert "SYNTHETIC CANDLES, NOT MARKET DATA" in counts


def test_it_ends_with_the_page_a_query_with_its_answer_and_three_commands(demo, made):
    lines = demo.stdout.splitlines()
    assert [line.split(" | ") for line in lines if " | " in line][1:] == [
        [str(value) for value in row] for row in rows(made, QUERY)
    ]
    [page] = [line.removeprefix("page: ") for line in lines if line.startswith("page: ")]
    assert "<html" in Path(page).read_text()
    commands = [shlex.split(line, comments=True)[1:] for line in lines[lines.index("Go on with:") + 1 :]]
    runs = [build_parser().parse_args(command).run for command in commands]
    assert [(run.__module__, run.__name__) for run in runs] == [
        ("extract.cli.db", "psql"),
        ("extract.cli.run", "run"),
        ("extract.cli.db", "stop"),
    ]


def test_the_psql_line_it_prints_answers(demo, perps):
    line = next(line for line in demo.stdout.splitlines() if " db psql " in line)
    answered = perps(*shlex.split(line)[1:])
    assert answered.returncode == 0, answered.stderr
    assert "BTC-PERPETUAL" in answered.stdout
    assert "(6 rows)" in answered.stdout


def test_the_reader_can_read_everything_and_write_nothing(made, server):
    reader = server.database("perps_reader", "perps_demo")
    for relation in ("perpetuals_ohlcv", "deribit_raw.candles", "quality.ohlcv_gaps", "staging.stg_candles"):
        rows(reader, f"select * from {relation} limit 1")
    with pytest.raises(Exception, match=r"read-only transaction|permission denied"):
        rows(reader, "delete from perpetuals_ohlcv")


def test_market_candles_cannot_join_the_demos(made, perps, monkeypatch):
    kinds = rows(made, "select distinct origin from deribit_raw.fetches")
    assert kinds == [("simulator",)]


@pytest.mark.long
def test_a_second_demo_starts_from_nothing(demo, made, perps):
    again = perps("demo", "--out", "demo-reports")
    assert again.returncode == 0, again.stdout + again.stderr
    assert rows(made, "select count(*) from deribit_raw.candles") == [(2 * CANDLES,)]
    assert rows(made, "select count(*) from deribit_raw._dlt_loads") == [(1,)]
