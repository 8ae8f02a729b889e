"""`perps repair`, `verify` and `reconcile --funding` of the other tables, on one database, in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extract.core.resolution import DAY_MS
from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.integration.conftest import BUILD
from tests.support.exchange import BTC, set_faults
from tests.support.perps import Perps, error_line, expect
from tests.support.truth import execute, rows, truth_rows

EXCHANGE = {"clock": "2024-03-10T00:00:30Z"}
HOUR, DAY = "2024-02-01 05:00:00", "2024-02-03"
LOST = 1_706_918_400_000 // DAY_MS  # that day
GAPS = "select instrument, missing, reason from quality.{} order by 1"
METHODS = {"funding": "get_funding_rate_history", "settlements": "get_last_settlements_by_instrument"}


@pytest.fixture(scope="module")
def short(module_database: Database, exchange: RunningSimulator, perps: Perps) -> Database:
    """Five weeks without candles, and without an hour and a day that were never requested."""
    loads = (
        ("funding", ("--start", "2024-02-01", "--end", "2024-02-01T05:00")),
        ("funding", ("--start", "2024-02-01T06:00")),
        ("settlements", ("--start", "2024-02-01", "--end", "2024-02-03T08:00")),
        ("settlements", ("--start", "2024-02-04T08:00")),
    )
    for endpoint, bounds in loads:
        wanted = ("backfill", "--instruments", BTC, "--only", endpoint, *bounds)
        expect(perps(*wanted, database=module_database, api=exchange.base_url))
    expect(perps(*BUILD, database=module_database))
    return module_database


@pytest.fixture
def typed(short: Database, exchange: RunningSimulator, perps: Perps) -> Callable[..., str]:
    return lambda *arguments: expect(perps(*arguments, database=short, api=exchange.base_url))


def test_a_lost_row_is_an_unfetched_gap(short):
    assert rows(short, GAPS.format("funding_gaps")) == [(BTC, 1, "unfetched")]
    assert rows(short, GAPS.format("settlement_gaps")) == [(BTC, 1, "unfetched")]


def test_verify_names_what_is_missing_and_what_brings_it(short, exchange, perps):
    result = perps(
        "verify", "--start", "2024-02-01", "--end", "2024-03-01", database=short, api=exchange.base_url
    )
    assert "the tables differ from deribit in 2 rows" in error_line(result)
    brings = f"perps backfill --instruments {BTC}"
    assert result.stdout.splitlines() == [
        f"{BTC} {HOUR}Z missing in the table",
        f"{BTC} {DAY} 08:00:00Z missing in the table",
        "2 windows, 725 rows compared, 2 differences",
        f"{brings} --start 2024-02-01T05:00:00Z --end 2024-02-01T06:00:00Z --only funding",
        f"{brings} --start {DAY}T08:00:00Z --end 2024-02-04T08:00:00Z --only settlements",
    ]


def test_reconcile_names_the_month_that_lacks_an_hour_only_by_what_it_is_worth(typed):
    assert "months equal, " in typed("reconcile", "--funding")


def test_a_row_that_cannot_be_used_is_found_and_no_more(short, exchange, typed):
    odd = {"kind": "row_revision", "instrument": BTC, "since": 0}
    settled = truth_rows(exchange.base_url, "settlements", BTC)
    [lost_ms] = [row["timestamp"] for row in settled if row["timestamp"] // DAY_MS == LOST]
    set_faults(
        exchange,
        odd | {"method": METHODS["funding"], "at": f"{HOUR}Z", "values": {"interest_1h": 5.0}},
        odd | {"method": METHODS["settlements"], "at": lost_ms, "values": {"position": -1.0}},
    )
    said = typed("repair", "--again")
    assert said.count("0 of 1 rows found, 0 not at deribit, 1 unusable") == 2
    typed(*BUILD)
    assert rows(short, GAPS.format("funding_gaps")) == [(BTC, 1, "rejected")]
    assert rows(short, GAPS.format("settlement_gaps")) == [(BTC, 1, "rejected")]
    reasons = rows(short, "select endpoint, reason from quality.rejected_rows order by 1")
    assert reasons == [("funding", "too_large"), ("settlements", "open_interest_negative")]
    set_faults(exchange)


def test_repair_brings_both_and_the_build_after_it_adds_them(short, typed):
    said = typed("repair", "--again")
    assert said.count("1 of 1 rows found, 0 not at deribit") == 2
    typed(*BUILD)
    assert rows(short, GAPS.format("funding_gaps")) == rows(short, GAPS.format("settlement_gaps")) == []
    assert "0 differences" in typed("verify", "--start", "2024-02-01", "--only", "funding,settlements")
    assert "3 months equal, 0 different" in typed("reconcile", "--funding")


def test_reconcile_finds_a_month_that_is_off(short, exchange, perps, typed):
    hours = f"instrument = '{BTC}' and \"timestamp\" between '2024-02-05' and '2024-02-20'"
    execute(short, f"update perpetuals_funding set interest_1h = interest_1h + 1e-5 where {hours}")
    result = perps("reconcile", "--funding", database=short, api=exchange.base_url)
    assert result.stdout.startswith(f"{BTC}: 2 months equal, 1 different\n{BTC} 2024-02: ")
    said = error_line(result)
    assert f"verify --only funding --instruments {BTC} --start 2024-02-01" in said
    result = perps(
        "verify", "--only", "funding", "--start", "2024-02-01", database=short, api=exchange.base_url
    )
    assert result.stdout.splitlines()[-1].endswith("reread_loads --args '{model: perpetuals_funding}'")
    typed("dbt", "--", "run-operation", "reread_loads", "--args", "{model: perpetuals_funding}")
    typed(*BUILD)
    assert "0 differences" in typed("verify", "--only", "funding", "--start", "2024-02-01")


def test_funding_and_a_resolution_are_not_asked_for_together(short, perps):
    said = error_line(perps("reconcile", "--funding", "--resolution", "1D", database=short), 2)
    assert "expected --funding or --resolution" in said
