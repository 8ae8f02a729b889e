"""`perps verify` compares the table with Deribit, names every difference and lands nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.integration.conftest import BUILD
from tests.support.truth import checksum, control, rows

BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
RANGE = ("--start", "2024-01-01", "--end", "2024-01-02")


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock="2024-01-11T00:00:30Z", requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture(autouse=True)
def calm(exchange: RunningSimulator) -> Iterator[None]:
    exchange.simulator.log.clear()
    yield
    control(exchange.base_url, "faults", [])


def charts(exchange: RunningSimulator) -> list:
    return [entry for entry in exchange.simulator.log if entry.method == "get_tradingview_chart_data"]


def write(database: Database, statement: str) -> None:
    opened = database.connect()
    with opened.cursor() as cursor:
        cursor.execute(statement)
    opened.close()


def test_a_table_that_says_what_deribit_says_passes(loaded, exchange, perps):
    landed = "select count(*), (select count(*) from deribit_raw.fetches) from deribit_raw.candles"
    before = (rows(loaded, landed), checksum(loaded))
    result = perps("verify", "--sample", "4", "--seed", "7", database=loaded, api=exchange.base_url)
    assert result.returncode == 0, result.stderr
    assert len(charts(exchange)) == 4
    assert result.stdout.startswith("4 windows, ")
    assert result.stdout.endswith(" candles compared, 0 differences (--seed 7)\n")
    assert (rows(loaded, landed), checksum(loaded)) == before


def test_a_sample_draws_windows_of_its_own_every_time_and_no_more_than_there_are(loaded, exchange, perps):
    result = perps("verify", database=loaded, api=exchange.base_url)
    assert "6 windows, 28,800 candles compared, 0 differences (--seed " in result.stdout
    assert len(charts(exchange)) == 6


def test_a_range_is_compared_whole(loaded, exchange, perps):
    result = perps(
        "verify", "--start", "2024-01-09", "--instruments", ETH, database=loaded, api=exchange.base_url
    )
    assert result.stdout == "1 windows, 2,880 candles compared, 0 differences\n"


def test_every_kind_of_difference_is_named_and_a_command_brings_it_in(loaded, exchange, perps):
    opened = loaded.connect()
    with opened.cursor() as cursor:
        cursor.execute(
            "update perpetuals_ohlcv set high = high + 0.00000001"
            " where instrument = %s and \"timestamp\" = '2024-01-01 01:00+00'",
            [BTC],
        )
        cursor.execute(
            "delete from perpetuals_ohlcv where instrument = %s and \"timestamp\" = '2024-01-01 02:00+00'",
            [BTC],
        )
    opened.close()
    faults = [
        {"kind": "outage", "instrument": BTC, "start": "2024-01-01T03:00", "end": "2024-01-01T03:02"},
        {"kind": "bad_candle", "instrument": BTC, "at": "2024-01-01T04:00", "values": {"close": "NaN"}},
    ]
    control(exchange.base_url, "faults", faults)
    result = perps("verify", *RANGE, "--instruments", BTC, database=loaded, api=exchange.base_url)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{BTC} 2024-01-01 01:00:00Z changed: high ")
    assert [line[:60].strip() for line in lines[1:4]] == [
        f"{BTC} 2024-01-01 02:00:00Z missing in the table",
        f"{BTC} 2024-01-01 03:00:00Z not at deribit",
        f"{BTC} 2024-01-01 03:01:00Z not at deribit",
    ]
    assert lines[4].startswith(f"{BTC} 2024-01-01 04:00:00Z unusable at deribit: close ")
    assert lines[4].endswith(" in the table, nan at deribit")
    assert lines[5] == "1 windows, 1,440 candles compared, 5 differences"
    command = "perps dbt -- run-operation reread_loads --args '{model: perpetuals_ohlcv}'"
    assert lines[6:] == [command]
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "in 5 candles" in errors[0]

    control(exchange.base_url, "faults", [])
    reading = perps(*shlex.split(command)[1:], database=loaded, api=exchange.base_url)
    assert reading.returncode == 0, reading.stdout
    assert perps(*BUILD, database=loaded).returncode == 0
    mended = perps("verify", *RANGE, database=loaded, api=exchange.base_url)
    assert mended.returncode == 0, mended.stdout


def test_what_deribit_tells_differently_is_loaded_by_the_command_that_is_named(loaded, exchange, perps):
    values = {"close": 40_000.5, "low": 1.0}
    revised = {"kind": "revision", "instrument": BTC, "at": "2024-01-01T05:00", "values": values, "since": 0}
    control(exchange.base_url, "faults", [revised])
    result = perps("verify", *RANGE, "--instruments", BTC, database=loaded, api=exchange.base_url)
    command = f"perps backfill --instruments {BTC} --start 2024-01-01T05:00:00Z --end 2024-01-01T05:01:00Z"
    assert result.stdout.splitlines()[-1] == command
    for again in (command, None):
        typed = again.split()[1:] if again else BUILD
        assert perps(*typed, database=loaded, api=exchange.base_url).returncode == 0
    mended = perps("verify", *RANGE, database=loaded, api=exchange.base_url)
    assert mended.returncode == 0, mended.stdout
    control(exchange.base_url, "faults", [])
    assert perps(*command.split()[1:], database=loaded, api=exchange.base_url).returncode == 0
    assert perps(*BUILD, database=loaded).returncode == 0


def test_a_digit_that_the_table_cannot_hold_is_seen_too(loaded, exchange, perps):
    told = {
        "kind": "bad_candle",
        "instrument": BTC,
        "at": "2024-01-01T06:00",
        "values": {"volume": 1.123456789},
    }
    again = ("--instruments", BTC, "--start", "2024-01-01T06:00", "--end", "2024-01-01T06:01")
    control(exchange.base_url, "faults", [told])
    assert perps("backfill", *again, database=loaded, api=exchange.base_url).returncode == 0
    assert perps(*BUILD, database=loaded).returncode == 0
    counted = rows(loaded, "select inexact, told::text, kept::text from quality.ohlcv_inexact")
    assert counted == [(1, "1.123456789", "1.12345679")]
    assert perps("verify", *again, database=loaded, api=exchange.base_url).returncode == 0
    control(exchange.base_url, "faults", [told | {"values": {"volume": 1.123456788}}])
    result = perps("verify", *again, database=loaded, api=exchange.base_url)
    at = f"{BTC} 2024-01-01 06:00:00Z changed: volume 1.123456789 in raw, 1.123456788 at deribit"
    assert result.stdout.splitlines()[0] == at
    assert result.stdout.splitlines()[-1].startswith(f"perps backfill --instruments {BTC} ")
    control(exchange.base_url, "faults", [])
    assert perps("backfill", *again, database=loaded, api=exchange.base_url).returncode == 0
    assert perps(*BUILD, database=loaded).returncode == 0


def test_a_candle_that_an_entry_settles_is_no_difference(loaded, exchange, perps):
    large = {"kind": "bad_candle", "instrument": ETH, "at": "2024-01-01T07:00", "values": {"volume": 12e9}}
    control(exchange.base_url, "faults", [large])
    arguments = ("verify", "--instruments", ETH, *RANGE)
    at = f"instrument = '{ETH}' and \"timestamp\" = '2024-01-01 07:00+00'"
    entry = f"'{ETH}', '2024-01-01 06:59+00', '2024-01-01 07:01+00', 'a cheap coin', 'seen'"
    write(loaded, f"create table saved as select * from perpetuals_ohlcv where {at}")
    write(loaded, f"delete from perpetuals_ohlcv where {at}")
    try:
        result = perps(*arguments, database=loaded, api=exchange.base_url)
        named = "unusable at deribit: volume None in the table, 12000000000.0 at deribit"
        assert (result.returncode, result.stdout.splitlines()[0]) == (
            1,
            f"{ETH} 2024-01-01 07:00:00Z {named}",
        )
        write(loaded, f"insert into quality.known_gaps values ({entry})")
        result = perps(*arguments, database=loaded, api=exchange.base_url)
        assert result.returncode == 0, result.stdout
    finally:
        write(loaded, "insert into perpetuals_ohlcv select * from saved")
        write(loaded, "drop table saved")
    result = perps(*arguments, database=loaded, api=exchange.base_url)
    assert result.returncode == 1  # where the table has a candle, an entry explains nothing
    write(loaded, "delete from quality.known_gaps")


def test_many_differences_are_counted_and_the_first_are_shown(loaded, exchange, perps):
    outage = {"kind": "outage", "instrument": BTC, "start": "2024-01-01T03:00", "end": "2024-01-01T04:00"}
    control(exchange.base_url, "faults", [outage])
    result = perps("verify", *RANGE, database=loaded, api=exchange.base_url)
    lines = result.stdout.splitlines()
    assert lines[20:] == [
        "and 40 more differences",
        "2 windows, 2,880 candles compared, 60 differences",
    ]


def test_a_reply_that_was_cut_is_no_evidence_of_a_missing_candle(loaded, exchange, perps):
    control(exchange.base_url, "faults", [{"kind": "max_rows", "rows": 700}])
    result = perps("verify", *RANGE, database=loaded, api=exchange.base_url)
    assert result.returncode == 0, result.stdout
    assert "2,880 candles compared, 0 differences" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sample", "5", *RANGE), "expected --sample and --seed, or --start and --end"),
        (("--sample", "0"), "expected --sample of at least 1 window"),
        (("--instruments", "XRP"), "expected instruments of the table, got XRP; correct the name"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, message, loaded, exchange, perps):
    result = perps("verify", *arguments, database=loaded, api=exchange.base_url)
    assert result.returncode == 2
    assert message in result.stderr


def test_candles_of_another_source_are_not_compared(loaded, exchange, perps):
    opened = loaded.connect()
    with opened.cursor() as cursor:
        cursor.execute("update deribit_raw.fetches set origin = 'live'")
    try:
        result = perps("verify", *RANGE, database=loaded, api=exchange.base_url)
    finally:
        with opened.cursor() as cursor:
            cursor.execute("update deribit_raw.fetches set origin = 'simulator'")
        opened.close()
    assert result.returncode == 1
    assert "expected live candles" in result.stderr


def test_a_table_without_models_says_to_build(database, exchange, perps):
    result = perps("verify", database=database, api=exchange.base_url)
    assert result.returncode == 1
    assert "run: perps dbt -- build" in result.stderr
