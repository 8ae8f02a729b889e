"""`perps demo` as a new user runs it: what it prints and leaves, and that the table is the exchange's."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from extract.cli.demo import QUERY
from extract.cli.parser import build_parser
from extract.database.database import Database
from extract.embedded.cluster import Cluster
from extract.simulator.market import Market
from tests.support.perps import Perps, Result, expect
from tests.support.truth import rounded, rows, table

CANDLES = 30 * 1440


@pytest.fixture(scope="module")
def demo(server: Cluster, perps: Perps) -> Result:
    done = perps("demo", "--out", "demo-reports")
    expect(done)
    return done


@pytest.fixture(scope="module")
def made(demo: object, server: Cluster) -> Database:
    return server.database(dbname="perps_demo")


@pytest.mark.parametrize("instrument", ["BTC-PERPETUAL", "ETH-PERPETUAL"])
def test_the_table_equals_the_simulators_truth_row_by_row(made, instrument):
    stored = table(made, instrument)
    assert len(stored) == CANDLES
    market = Market(7).minutes(instrument, stored[0][0], stored[-1][0])
    columns = (market.open, market.high, market.low, market.close, market.volume)
    values = zip(*[[rounded(repr(float(value))) for value in column] for column in columns], strict=True)
    assert stored == [(int(tick), instrument, *row) for tick, row in zip(market.ticks, values, strict=True)]


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
    answered = expect(perps(*shlex.split(line)[1:]))
    assert "BTC-PERPETUAL" in answered
    assert "(6 rows)" in answered


@pytest.mark.long
def test_a_second_demo_starts_from_nothing(demo, made, perps):
    expect(perps("demo", "--out", "demo-reports"))
    assert rows(made, "select count(*) from deribit_raw.candles") == [(2 * CANDLES,)]
    assert rows(made, "select count(*) from deribit_raw._dlt_loads") == [(1,)]
