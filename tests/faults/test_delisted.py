"""Perpetuals whose listing does not say since when, or until when, there are candles."""

from __future__ import annotations

import pytest

from tests.support.exchange import BTC, ETH, charts
from tests.support.flow import BUILD, Flow
from tests.support.perps import error_line
from tests.support.truth import rows, table, truth

SOL = "SOL_USDC-PERPETUAL"
DELISTED = {"kind": "delisted", "instrument": ETH, "at": "2024-01-02T06:00:00Z"}
LOADED_TO = "2024-01-02T00:00:00Z"
BUILT = ("dbt", "--", "build", "--exclude-resource-type", "unit_test")
ENDED = "select ended_at is not null, is_active from deribit_raw.instruments where instrument = %s"


def ask(name: str, start: str, end: str) -> tuple[str, ...]:
    return ("backfill", "--instruments", name, "--start", start, "--end", end)


def asked(flow: Flow) -> int:
    """Return how often the exchange was asked for candles of ETH so far."""
    return sum(request.instrument == ETH for request in charts(flow.exchange))


def end_of(flow: Flow, instrument: str, start: str, end: str) -> tuple[list, list]:
    """Return the true candles of a range up to the last one with volume, and the flat ones after it."""
    true = truth(flow.exchange.base_url, instrument, start, end)
    length = max(n for n, row in enumerate(true, 1) if row[-1] > 0)
    assert length < len(true)
    return true[:length], true[length:]


def test_an_update_brings_a_delisted_perpetual_to_its_end_once_and_then_leaves_it(flow: Flow):
    api = flow.exchange.base_url
    flow.set_clock(LOADED_TO)
    flow.expect("backfill", "--instruments", BTC, ETH, "--start", "2024-01-01")
    flow.set_faults(DELISTED)
    flow.set_clock("2024-01-02T06:20:00Z")
    assert "ETH-PERPETUAL: no longer listed by deribit, its last" in flow.expect("update").stderr
    assert rows(flow.database, ENDED, ETH) == [(False, True)]  # a listing may lack a name by mistake

    flow.set_clock("2024-01-03T00:00:00Z")
    flow.expect("update")
    flow.expect(*BUILT)
    candles, flat = end_of(flow, ETH, "2024-01-01", "2024-01-03")
    assert table(flow.database, ETH) == candles
    assert len(flat) > 1000
    (ended,) = rows(
        flow.database,
        "select extract(epoch from ended_at) * 1000, is_active, tick_size, listed_at::text"
        " from perpetuals where instrument = %s",
        ETH,
    )
    assert ended == (candles[-1][0] + 60_000, False, 0.05, "2019-03-14 13:00:54+00")
    covered = "select coverage_percent, tail_minutes from quality.ohlcv_coverage where instrument = %s"
    assert rows(flow.database, covered, ETH) == [(100, 0)]

    before = asked(flow)
    flow.set_clock("2024-01-04T00:00:00Z")
    assert "ETH-PERPETUAL: no longer listed by deribit, skipped" in flow.expect("update").stderr
    assert asked(flow) == before > 0
    assert rows(flow.database, covered, ETH) == [(100, 0)]
    flow.expect("verify", "--instruments", ETH, "--start", "2024-01-01")

    flow.set_faults(DELISTED, {"kind": "relisted", "instrument": ETH, "at": "2024-01-04T12:00:00Z"})
    flow.set_clock("2024-01-05T00:00:00Z")
    assert "ETH-PERPETUAL: no" not in flow.expect("update").stderr
    flow.expect(*BUILT)
    assert table(flow.database, ETH) == truth(api, ETH, "2024-01-01", "2024-01-05")
    again = "select ended_at, is_active, listed_at::text from perpetuals where instrument = %s"
    assert rows(flow.database, again, ETH) == [(None, True, "2024-01-04 12:00:00+00")]


def test_a_perpetual_that_was_delisted_before_anything_was_loaded_can_be_named(flow: Flow):
    outage = {"kind": "outage", "instrument": ETH, "start": "2024-01-01T06:00", "end": "2024-01-01T06:05"}
    flow.set_faults(DELISTED, outage)
    flow.set_clock("2024-01-04T00:00:00Z")
    flow.expect("backfill", "--instruments", ETH, "--start", "2024-01-01")
    flow.expect("dbt", "--", "run", "--select", "+ohlcv_gaps", "+ohlcv_coverage")
    before = asked(flow)
    flow.expect("update")
    assert asked(flow) == before > 0

    beyond = flow.expect("backfill", "--instruments", ETH, "--start", "2024-01-03")
    assert (
        "ETH-PERPETUAL: nothing in this time range, its last candle with volume ends at 2024-01-02"
        in beyond.stderr
    )

    flow.set_faults(DELISTED)
    assert "5 of 5 candles found" in flow.expect("repair", "--again").stdout
    flow.expect(*BUILD)
    assert table(flow.database, ETH) == end_of(flow, ETH, "2024-01-01", "2024-01-04")[0]


def test_a_part_of_a_delisted_perpetual_is_completed_by_the_next_update(flow: Flow):
    flow.set_faults(DELISTED)
    flow.set_clock("2024-01-04T00:00:00Z")
    flow.expect(*ask(ETH, "2024-01-01", "2024-01-01T12:00"))
    flow.set_faults(DELISTED, {"kind": "http", "status": 500, "instrument": ETH, "resolution": "1D"})
    assert "ETH-PERPETUAL 2015-12-31T08:00Z" in error_line(flow.command("update"))
    flow.set_faults(DELISTED)
    flow.expect("update")
    flow.expect(*BUILD)
    assert table(flow.database, ETH) == end_of(flow, ETH, "2024-01-01", "2024-01-04")[0]


@pytest.mark.parametrize("command", ["backfill", "update"])
def test_candles_from_before_a_second_listing_are_found_and_what_lies_between_is_a_gap_of_the_source(
    flow: Flow, command: str
):
    between = {"kind": "outage", "instrument": SOL, "start": "2022-03-20", "end": "2022-04-20"}
    again = {"kind": "relisted", "instrument": SOL, "at": "2022-04-20"}
    flow.set_faults(between, again)
    flow.set_clock("2022-04-22T00:00:00Z")
    flow.expect(command, "--instruments", SOL)
    flow.expect("dbt", "--", "run", "--select", "+ohlcv_gaps")
    true = truth(flow.exchange.base_url, SOL, "2022-03-01", "2022-04-22")
    assert table(flow.database, SOL) == true
    gaps = "select gap_start::text, gap_end::text, reason from quality.ohlcv_gaps"
    assert rows(flow.database, gaps) == [("2022-03-19 23:59:00+00", "2022-04-20 00:00:00+00", "source")]


def test_an_explicit_range_far_before_a_second_listing_is_asked(flow: Flow):
    again = {"kind": "relisted", "instrument": BTC, "at": "2024-01-02T00:00:00Z"}
    flow.set_faults(again)
    flow.expect(*ask(BTC, "2023-01-10", "2023-01-11"))
    flow.expect(*BUILD)
    true = truth(flow.exchange.base_url, BTC, "2023-01-10", "2023-01-11")
    assert table(flow.database) == true
    assert len(true) == 1440


def test_a_range_with_nothing_in_it_says_why(flow: Flow):
    before = flow.expect(*ask(BTC, "2017-01-01", "2017-02-01"))
    assert (
        "BTC-PERPETUAL: nothing in this time range, deribit has no candle before 2018-08-14 10:24:47Z"
        in before.stderr
    )
    for start in ("2024-01-03T00:00:00Z", "2024-02-01"):  # not closed yet, in the future
        said = error_line(flow.command("backfill", "--instruments", BTC, "--start", start), 2)
        assert "expected --start before 2024-01-03 00:00:00Z, the end of the newest closed candle" in said


def test_a_name_that_deribit_does_not_know_is_refused_and_nothing_is_loaded(flow: Flow):
    said = error_line(
        flow.command("backfill", "--instruments", BTC, "BCT-PERPETUAL", "--start", "2024-01-02"), 2
    )
    assert "list BCT-PERPETUAL (BTC-PERPETUAL?)" in said
    assert rows(flow.database, "select to_regclass('deribit_raw.candles')") == [(None,)]


def test_a_listed_perpetual_that_cannot_be_used_is_not_taken_for_delisted(flow: Flow):
    flow.set_clock(LOADED_TO)
    flow.expect("backfill", "--instruments", BTC, ETH, "--start", "2024-01-01")
    odd = {"kind": "wire", "method": "get_instruments", "find": "1552568454000", "put": "1"}
    flow.set_faults(odd)
    flow.set_clock("2024-01-03T00:00:00Z")
    assert "creation_timestamp in ms for 'ETH-PERPETUAL'" in error_line(flow.command("update"))
    flow.set_faults()
    flow.recover("api", "a listing that cannot be used", ("update",), BUILD)
