"""`perps verify` compares the table with Deribit, names every difference and lands nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.integration.conftest import BUILD
from tests.support.exchange import BTC, ETH, charts, set_faults
from tests.support.perps import Perps, Result, error_line, expect
from tests.support.truth import checksum, execute, rows

EXCHANGE = {"clock": "2024-01-11T00:00:30Z"}
RANGE = ("--start", "2024-01-01", "--end", "2024-01-02")


@pytest.fixture(autouse=True)
def calm(exchange: RunningSimulator) -> Iterator[None]:
    exchange.simulator.log.clear()
    yield
    set_faults(exchange)


@pytest.fixture
def typed(loaded: Database, exchange: RunningSimulator, perps: Perps) -> Callable[..., str]:
    """`typed(*arguments)` on the loaded table; what a command that succeeds prints."""
    return lambda *arguments: expect(perps(*arguments, database=loaded, api=exchange.base_url))


@pytest.fixture
def verify(loaded: Database, exchange: RunningSimulator, perps: Perps) -> Callable[..., Result]:
    """`verify(*arguments)` of the candles."""
    wanted = ("verify", "--only", "candles")
    return lambda *arguments: perps(*wanted, *arguments, database=loaded, api=exchange.base_url)


def test_a_table_that_says_what_deribit_says_passes(loaded, exchange, verify):
    landed = "select count(*), (select count(*) from deribit_raw.fetches) from deribit_raw.candles"
    before = (rows(loaded, landed), checksum(loaded))
    said = expect(verify("--sample", "4", "--seed", "7"))
    assert len(charts(exchange)) == 4
    assert re.fullmatch(r"4 windows, \S+ rows compared, 0 differences \(--seed 7\)\n", said)
    assert (rows(loaded, landed), checksum(loaded)) == before


def test_a_sample_draws_windows_of_its_own_every_time_and_no_more_than_there_are(exchange, verify):
    assert "6 windows, 28,800 rows compared, 0 differences (--seed " in verify().stdout
    assert len(charts(exchange)) == 6


def test_a_range_is_compared_whole(verify):
    said = verify("--start", "2024-01-09", "--instruments", ETH).stdout
    assert said == "1 windows, 2,880 rows compared, 0 differences\n"


def test_every_kind_of_difference_is_named_and_a_command_brings_it_in(loaded, exchange, verify, typed):
    at = f"instrument = '{BTC}' and timestamp = '2024-01-01 0{{}}:00+00'"
    execute(
        loaded,
        f"update perpetuals_ohlcv set high = high + 0.00000001 where {at.format(1)}",
        f"delete from perpetuals_ohlcv where {at.format(2)}",
    )
    set_faults(
        exchange,
        {"kind": "outage", "instrument": BTC, "start": "2024-01-01T03:00", "end": "2024-01-01T03:02"},
        {"kind": "bad_candle", "instrument": BTC, "at": "2024-01-01T04:00", "values": {"close": "NaN"}},
    )
    result = verify(*RANGE, "--instruments", BTC)
    assert "in 5 rows" in error_line(result)
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{BTC} 2024-01-01 01:00:00Z changed: high ")
    assert [line[:60].strip() for line in lines[1:4]] == [
        f"{BTC} 2024-01-01 02:00:00Z missing in the table",
        f"{BTC} 2024-01-01 03:00:00Z not at deribit",
        f"{BTC} 2024-01-01 03:01:00Z not at deribit",
    ]
    assert lines[4].startswith(f"{BTC} 2024-01-01 04:00:00Z unusable at deribit: close ")
    assert lines[4].endswith(" in the table, nan at deribit")
    assert lines[5] == "1 windows, 1,440 rows compared, 5 differences"
    command = "perps dbt -- run-operation reread_loads --args '{model: perpetuals_ohlcv}'"
    assert lines[6:] == [command]

    set_faults(exchange)
    for again in (shlex.split(command)[1:], BUILD, ("verify", "--only", "candles", *RANGE)):
        typed(*again)


def test_what_deribit_tells_differently_is_loaded_by_the_command_that_is_named(exchange, verify, typed):
    values = {"close": 40_000.5, "low": 1.0}
    revised = {"kind": "revision", "instrument": BTC, "at": "2024-01-01T05:00", "values": values, "since": 0}
    set_faults(exchange, revised)
    result = verify(*RANGE, "--instruments", BTC)
    bounds = "--start 2024-01-01T05:00:00Z --end 2024-01-01T05:01:00Z"
    command = f"perps backfill --instruments {BTC} {bounds} --only candles"
    assert result.stdout.splitlines()[-1] == command
    for again in (command.split()[1:], BUILD, ("verify", "--only", "candles", *RANGE)):
        typed(*again)
    set_faults(exchange)
    for back in (command.split()[1:], BUILD):
        typed(*back)


def test_a_digit_that_the_table_cannot_hold_is_seen_too(loaded, exchange, verify, typed):
    candle = {"kind": "bad_candle", "instrument": BTC, "at": "2024-01-01T06:00"}
    again = ("--instruments", BTC, "--start", "2024-01-01T06:00", "--end", "2024-01-01T06:01")
    set_faults(exchange, candle | {"values": {"volume": 1.123456789}})
    typed("backfill", "--only", "candles", *again)
    typed(*BUILD)
    counted = rows(loaded, "select inexact, sent_value::text, table_value::text from quality.ohlcv_inexact")
    assert counted == [(1, "1.123456789", "1.12345679")]
    typed("verify", "--only", "candles", *again)
    set_faults(exchange, candle | {"values": {"volume": 1.123456788}})
    result = verify(*again)
    at = f"{BTC} 2024-01-01 06:00:00Z changed: volume 1.123456789 in raw, 1.123456788 at deribit"
    assert result.stdout.splitlines()[0] == at
    assert result.stdout.splitlines()[-1].startswith(f"perps backfill --instruments {BTC} ")
    set_faults(exchange)
    typed("backfill", "--only", "candles", *again)
    typed(*BUILD)


def test_a_candle_that_an_entry_settles_is_no_difference(loaded, exchange, verify):
    large = {"kind": "bad_candle", "instrument": ETH, "at": "2024-01-01T07:00", "values": {"volume": 12e9}}
    set_faults(exchange, large)
    arguments = ("--instruments", ETH, *RANGE)
    at = f"instrument = '{ETH}' and \"timestamp\" = '2024-01-01 07:00+00'"
    entry = f"'{ETH}', '2024-01-01 06:59+00', '2024-01-01 07:01+00', 'a cheap coin', 'seen'"
    execute(loaded, f"create table saved as select * from perpetuals_ohlcv where {at}")
    execute(loaded, f"delete from perpetuals_ohlcv where {at}")
    try:
        result = verify(*arguments)
        named = "unusable at deribit: volume None in the table, 12000000000.0 at deribit"
        assert result.returncode == 1
        assert result.stdout.splitlines()[0] == f"{ETH} 2024-01-01 07:00:00Z {named}"
        execute(loaded, f"insert into quality.known_gaps values ({entry})")
        expect(verify(*arguments))
    finally:
        execute(loaded, "insert into perpetuals_ohlcv select * from saved", "drop table saved")
    assert verify(*arguments).returncode == 1  # where the table has a candle, an entry explains nothing
    execute(loaded, "delete from quality.known_gaps")


def test_many_differences_are_counted_and_the_first_are_shown(exchange, verify):
    outage = {"kind": "outage", "instrument": BTC, "start": "2024-01-01T03:00", "end": "2024-01-01T04:00"}
    set_faults(exchange, outage)
    lines = verify(*RANGE).stdout.splitlines()
    assert lines[20:] == ["and 40 more differences", "2 windows, 2,880 rows compared, 60 differences"]


def test_a_reply_that_was_cut_is_no_evidence_of_a_missing_candle(exchange, verify):
    set_faults(exchange, {"kind": "max_rows", "rows": 700})
    assert "2,880 rows compared, 0 differences" in expect(verify(*RANGE))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--sample", "5", *RANGE), "--sample and --seed, or --start and --end"),
        (("--sample", "0"), "--sample"),
        (("--instruments", "XRP"), "XRP"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, named, verify):
    assert named in error_line(verify(*arguments), 2)


def test_candles_of_another_source_are_not_compared(loaded, verify):
    execute(loaded, "update deribit_raw.fetches set origin = 'live'")
    try:
        assert "holds live candles" in error_line(verify(*RANGE))
    finally:
        execute(loaded, "update deribit_raw.fetches set origin = 'simulator'")
