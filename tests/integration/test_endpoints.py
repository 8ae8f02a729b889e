"""Funding and settlements, loaded by a `Loader` in this process: all of them once, like candles."""

from __future__ import annotations

import pytest

from extract.core.resolution import DAY_MS, HOUR_MS
from extract.errors import UsageError
from extract.load.endpoint import FUNDING, SETTLEMENTS, Endpoint
from extract.load.result import IncompleteError
from tests.support.exchange import BTC, ETH, set_clock, set_faults
from tests.support.loading import JAN, MINUTES, NOW, days, ticks
from tests.support.truth import rows, truth_rows

EXCHANGE = {"clock": NOW}
SOL = "SOL_USDC-PERPETUAL"
ALL = [MINUTES, FUNDING, SETTLEMENTS]
OTHERS = [FUNDING, SETTLEMENTS]
METHODS = {FUNDING: "get_funding_rate_history", SETTLEMENTS: "get_last_settlements_by_instrument"}
BOTH = pytest.mark.parametrize("endpoint", OTHERS, ids=lambda found: found.table)
FETCHES = "select distinct endpoint, resolution from deribit_raw.fetches order by 1"


def raw(database, endpoint: Endpoint, instrument: str = BTC) -> list[tuple]:
    """Return the raw rows of an instrument: epoch ms and values, in the order in which they landed."""
    return rows(
        database,
        f'select (extract(epoch from "timestamp") * 1000)::bigint, {", ".join(endpoint.values)}'
        f" from deribit_raw.{endpoint.table} where instrument = %s"
        ' order by _dlt_load_id::numeric, "timestamp"',
        instrument,
    )


def told(
    exchange, endpoint: Endpoint, start_ms: int | None = None, end_ms: int | None = None, name: str = BTC
):
    """Return what the exchange says is true, in the shape of `raw`."""
    found = truth_rows(exchange.base_url, endpoint.table, name, start_ms, end_ms)
    return [(row["timestamp"], *(row[value] for value in endpoint.values)) for row in found]


def asked(exchange, endpoint: Endpoint) -> int:
    """Return how often an endpoint was requested since the last time."""
    count = sum(entry.method == METHODS[endpoint] for entry in exchange.simulator.log)
    exchange.simulator.log.clear()
    return count


@pytest.mark.parametrize("name", [BTC, SOL])
@BOTH
def test_everything_since_listing_lands_once_in_every_digit(endpoint, name, load, database, exchange):
    result = load().backfill([name], [endpoint], (0, 2**53))
    true = told(exchange, endpoint, name=name)
    assert raw(database, endpoint, name) == true
    assert (result.of(endpoint.table), result.rows) == ({name: len(true)}, len(true))
    assert load().backfill([name], [endpoint], (0, 2**53)).rows == 0
    assert raw(database, endpoint, name) == true
    assert rows(database, FETCHES) == [(endpoint.table, None)]


def test_a_range_of_everything_is_one_load_and_each_series_has_a_cursor_of_its_own(load, database, exchange):
    result = load().backfill([BTC, ETH], ALL, days(28, 30))
    assert {name: set(result.of(name)) for name in ("candles", "funding", "settlements")} == {
        name: {BTC, ETH} for name in ("candles", "funding", "settlements")
    }
    assert rows(database, "select count(*) from deribit_raw._dlt_loads where status = 0") == [(1,)]
    assert len(ticks(database)) == 2 * 1440
    for endpoint in OTHERS:
        assert raw(database, endpoint) == told(exchange, endpoint, *days(28, 30))
    set_clock(exchange, "2024-02-02T10:00:30Z")
    load().update([], ALL)
    assert len(ticks(database)) == (4 * 24 + 10) * 60
    for endpoint in OTHERS:
        assert raw(database, endpoint) == told(exchange, endpoint, days(28, 30)[0])


@BOTH
def test_an_update_requests_what_can_have_come_and_no_more(endpoint, load, database, exchange):
    load().backfill([BTC], [endpoint], days(20, 60))
    asked(exchange, endpoint)
    for now in ("2024-01-31T00:01:30Z", "2024-01-31T00:59:59Z"):
        set_clock(exchange, now)
        assert load().update([], [endpoint]).rows == 0
    assert asked(exchange, endpoint) == 0
    set_clock(exchange, "2024-01-31T08:00:30Z")
    before = len(raw(database, endpoint))
    load().update([], [endpoint])
    assert asked(exchange, endpoint) == 1
    assert len(raw(database, endpoint)) - before == (8 if endpoint == FUNDING else 1)
    load().update([], [endpoint])
    assert asked(exchange, endpoint) == 0


def test_a_row_that_comes_late_is_loaded_by_an_update_a_minute_later(load, database, exchange):
    load().backfill([BTC], [FUNDING], days(20, 60))
    set_clock(exchange, "2024-01-31T01:00:02Z")
    set_faults(exchange, {"kind": "empty", "method": METHODS[FUNDING]})
    assert load().update([], [FUNDING]).rows == 0
    set_faults(exchange)
    set_clock(exchange, "2024-01-31T01:01:02Z")
    assert load().update([], [FUNDING]).rows == 1


@BOTH
def test_a_revision_within_the_look_back_lands_beside_what_it_revises(endpoint, load, database, exchange):
    load().backfill([BTC], [endpoint], days(10, 60))
    true = told(exchange, endpoint, days(10, 60)[0])
    value = {"interest_1h": 1.25e-9} if endpoint == FUNDING else {"position": 12_345.0}
    revised = {"kind": "row_revision", "method": METHODS[endpoint], "instrument": BTC, "at": true[-2][0]}
    set_faults(exchange, revised | {"values": value})
    set_clock(exchange, "2024-02-01T09:00:00Z")
    load().update([], [endpoint])
    [again] = told(exchange, endpoint, true[-2][0], true[-2][0] + 1)
    versions = [row for row in raw(database, endpoint) if row[0] == true[-2][0]]
    assert versions == [true[-2], again]
    assert again != true[-2]


@BOTH
def test_a_window_that_fails_is_named_and_owed_and_the_rest_is_saved(endpoint, load, database, exchange):
    set_faults(exchange, {"kind": "http", "status": 400, "method": METHODS[endpoint]})
    with pytest.raises(IncompleteError, match=rf"{endpoint.table} of BTC-PERPETUAL 20.*the others are saved"):
        load().backfill([BTC], ALL, days(28, 60))
    assert len(ticks(database)) == 2 * 1440
    assert raw(database, endpoint) == []
    set_faults(exchange)
    load().update([], ALL)
    assert raw(database, endpoint) == told(exchange, endpoint, days(28, 60)[0])


def test_pages_that_never_end_are_noticed(load, database, exchange):
    set_faults(exchange, {"kind": "looping_pages"})
    with pytest.raises(IncompleteError, match="the same ones again"):
        load().backfill([BTC], [SETTLEMENTS], (0, 2**53))
    set_faults(exchange)
    load().update([BTC], [SETTLEMENTS])
    assert raw(database, SETTLEMENTS) == told(exchange, SETTLEMENTS)


def test_one_bad_value_does_not_keep_the_others_out(load, database, exchange):
    bad = {"kind": "bad_row", "method": METHODS[FUNDING], "column": "interest_1h", "row": 3, "value": "x"}
    set_faults(exchange, bad)
    load().backfill([BTC], [FUNDING], days(29, 30))
    found = raw(database, FUNDING)
    assert len(found) == 24
    assert [row[1] for row in found].count(None) == 1


def test_what_is_repeated_or_without_a_time_is_fetched_again(load, database, exchange):
    for kind in ("repeated_row", "bad_row"):
        set_faults(exchange, {"kind": kind, "method": METHODS[FUNDING], "times": 2})
        load().backfill([BTC], [FUNDING], days(28, 30))
        assert raw(database, FUNDING) == told(exchange, FUNDING, *days(28, 30))


def test_a_delisted_perpetual_is_loaded_to_its_last_row_once(load, database, exchange):
    load().backfill([BTC], ALL, days(28, 60))
    gone = JAN + 30 * DAY_MS + 9 * HOUR_MS
    set_faults(exchange, {"kind": "delisted", "instrument": BTC, "at": gone})
    set_clock(exchange, "2024-02-05T00:00:30Z")
    load().update([], ALL)
    for endpoint in OTHERS:
        assert raw(database, endpoint) == told(exchange, endpoint, days(28, 60)[0])
        assert raw(database, endpoint)[-1][0] <= gone
    exchange.simulator.log.clear()
    assert load().update([], ALL).unlisted == [BTC]
    assert {entry.method for entry in exchange.simulator.log} <= {"get_time", "get_instruments"}


def test_what_was_never_loaded_has_its_empty_table_for_dbt(load, database, exchange):
    load().backfill([BTC], [FUNDING], days(29, 30))
    hypertables = (
        "select hypertable_name from timescaledb_information.hypertables"
        " where hypertable_schema = 'deribit_raw' order by 1"
    )
    assert rows(database, hypertables) == [("candles",), ("funding",), ("settlements",)]
    types = (
        "select table_name, column_name, data_type from information_schema.columns"
        " where table_schema = 'deribit_raw' and table_name in ('funding', 'settlements') order by 1, 2"
    )
    before = rows(database, types)
    load().backfill([BTC], [SETTLEMENTS], days(20, 30))
    assert rows(database, types) == before


def test_only_what_was_loaded_is_updated_without_names(load, database, exchange):
    load().backfill([BTC], [FUNDING], days(29, 30))
    with pytest.raises(UsageError, match="nothing is loaded yet"):
        load().update([], [MINUTES])
    assert load().update([], [FUNDING]).of("funding") == {BTC: 1}


def test_a_short_range_of_everything_is_continued_and_nothing_before_it_is_loaded(load, database, exchange):
    start, end = JAN + 29 * DAY_MS + 9 * HOUR_MS, JAN + 29 * DAY_MS + 12 * HOUR_MS  # without a settlement
    load().backfill([BTC], ALL, (start, end))
    assert raw(database, SETTLEMENTS) == []
    load().update([], ALL)
    for endpoint in OTHERS:
        assert raw(database, endpoint) == told(exchange, endpoint, start)


def test_what_lies_between_two_listings_is_known_to_be_missing_at_the_source(load, database, exchange):
    load().backfill([BTC], ALL, days(28, 60))
    gone = {"kind": "delisted", "instrument": BTC, "at": "2024-01-31T05:00:00Z"}
    set_faults(exchange, gone, {"kind": "relisted", "instrument": BTC, "at": "2024-02-03T12:00:00Z"})
    set_clock(exchange, "2024-02-04T00:00:30Z")
    load().update([], ALL)
    for endpoint in OTHERS:
        assert raw(database, endpoint) == told(exchange, endpoint, days(28, 60)[0])
        covered = (
            "select count(distinct (window_start, window_end)) from deribit_raw.fetches where endpoint = %s"
            " and window_start <= '2024-02-02 08:00+00' and window_end > '2024-02-02 08:00+00'"
        )
        assert rows(database, covered, endpoint.table) == [(2,)]
