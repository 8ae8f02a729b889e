"""What builds make of raw funding and settlements, read from the database."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.support.dbt_funding import (
    BTC,
    DAY,
    SOL,
    TABLES,
    Funding,
    Settlement,
    asked,
    hour,
    hours,
    land,
    list_instrument,
    settled,
    settlements,
)
from tests.support.dbt_project import Candle, DbtProject, minute


def funding_of(project: DbtProject, at: int, instrument: str = BTC) -> list[tuple[float, ...]]:
    return project.query(
        "select interest_1h, interest_8h, index_price, prev_index_price from perpetuals_funding"
        f" where timestamp = '{hour(at)}' and instrument = '{instrument}'"
    )


@pytest.fixture
def landed(project: DbtProject) -> DbtProject:
    project.land("9.5", [])
    land(project, "10.5", [Funding(hour(0), interest_1h=1.2e-09, prev_index_price=None), *hours(1, 50)])
    land(project, "10.5", [*settlements(0, 4), *settlements(0, 4, instrument=SOL)])
    project.build()
    return project


def test_funding_has_its_columns_key_and_index(landed: DbtProject) -> None:
    columns = landed.query(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'public' and table_name = 'perpetuals_funding' order by ordinal_position"
    )
    rates = [
        (name, "double precision")
        for name in ("interest_1h", "interest_8h", "index_price", "prev_index_price")
    ]
    assert columns == [("timestamp", "timestamp with time zone"), ("instrument", "text"), *rates]
    indexes = landed.query(
        "select split_part(indexdef, ' USING ', 2) from pg_indexes"
        " where schemaname = 'public' and tablename = 'perpetuals_funding' order by 1"
    )
    assert indexes == [('btree ("timestamp", instrument)',), ('btree (instrument, "timestamp" DESC)',)]
    hypertables = landed.query(
        "select hypertable_name, column_name::text from timescaledb_information.dimensions"
        " where hypertable_schema = 'public' and hypertable_name <> 'perpetuals_ohlcv' order by 1"
    )
    assert hypertables == [("perpetuals_funding", "timestamp"), ("perpetuals_settlements", "settlement_day")]


def test_a_rate_of_a_billionth_and_the_first_row_without_an_index_before_are_kept(landed: DbtProject) -> None:
    assert funding_of(landed, 0) == [(1.2e-09, 8e-5, 100.0, None)]
    assert landed.query("select count(*) from perpetuals_funding") == [(50,)]


def test_a_revision_of_any_year_replaces_and_leaves_the_others_untouched(landed: DbtProject) -> None:
    before = landed.query("select xmin::text, timestamp, instrument from perpetuals_funding order by 2")
    land(landed, "11.5", [Funding(hour(7), interest_1h=-0.0049), Funding(hour(8))])
    land(landed, "12.5", [Funding(hour(9), interest_1h=0.5)], complete=False)
    landed.build(*TABLES)
    assert funding_of(landed, 7) == [(-0.0049, 8e-5, 100.0, 100.0)]
    after = landed.query("select xmin::text, timestamp, instrument from perpetuals_funding order by 2")
    assert [row[1] for row in set(after) - set(before)] == [hour(7)]


def test_settlements_have_one_row_a_day_and_keep_late_stamps(landed: DbtProject) -> None:
    late = settled(2) + timedelta(minutes=80)
    land(landed, "11.5", [Settlement(late, position=7000.0)])
    landed.build(*TABLES)
    found = landed.query(
        "select settlement_day, settled_at, open_interest from perpetuals_settlements"
        f" where instrument = '{BTC}' order by 1"
    )
    assert found == [
        (date(2024, 1, 1), settled(0), 5000.0),
        (date(2024, 1, 2), settled(1), 5000.0),
        (date(2024, 1, 3), late, 7000.0),
        (date(2024, 1, 4), settled(3), 5000.0),
    ]


def test_rows_that_cannot_be_true_never_get_into_the_tables(landed: DbtProject) -> None:
    nan = float("nan")
    land(landed, "11.5", [Funding(hour(5), interest_1h=nan), Funding(hour(60), index_price=-1.0)])
    land(landed, "12.5", [Settlement(settled(1), position=-1.0), Settlement(settled(9), mark_price=None)])
    landed.build(*TABLES)
    assert funding_of(landed, 5) == [(1e-5, 8e-5, 100.0, 100.0)]
    assert funding_of(landed, 60) == []
    assert landed.query("select min(open_interest), max(settled_at) from perpetuals_settlements") == [
        (5000.0, settled(3))
    ]


def test_a_mark_that_is_older_than_the_kept_fetches_reads_raw(landed: DbtProject) -> None:
    """Fetches without a hole are deleted after three days; these loads are four days apart."""
    land(landed, "1000.5", hours(60, 70))
    land(landed, "1000.5", settlements(6, 8))
    land(landed, f"{1000.5 + 4 * 86_400}", hours(70, 71))
    landed.query("delete from deribit_raw.fetches")
    landed.build(*TABLES)
    assert landed.query("select count(*) from perpetuals_funding") == [(61,)]
    assert landed.query("select count(*) from perpetuals_settlements") == [(10,)]


def test_a_build_without_new_funding_leaves_it_alone(landed: DbtProject) -> None:
    asked(landed, "11.5", "funding", hour(0), hour(9), counts=(9, 0, 0))
    landed.land("11.5", [Candle(minute(0))])
    landed.build("--select", "config.materialized:hypertable")
    changed = landed.query(
        "select relation, changed_to from quality.watermarks"
        " where relation like '%funding' or relation like '%settlements'"
    )
    assert {relation: str(to) for relation, to in changed} == {
        "public.perpetuals_funding": "10.5",
        "public.perpetuals_settlements": "10.5",
    }


def test_perpetuals_know_their_kind_units_and_first_trade(project: DbtProject) -> None:
    list_instrument(project, "10.5", BTC, "reversed")
    list_instrument(project, "10.5", SOL, "linear")
    list_instrument(project, "10.5", "NEW-PERPETUAL", "linear", base_currency="NEW")
    traded = [Candle(minute(at), volume=float(at in (3, 1445))) for at in range(1450)]
    project.land("10.5", [*traded, *(Candle(minute(at), SOL, volume=0.0) for at in range(3))])
    project.build()
    found = project.query(
        "select instrument, kind, first_traded, last_traded, price_unit, volume_unit, open_interest_unit"
        " from perpetuals order by 1"
    )
    assert found == [
        (BTC, "inverse", minute(3), minute(1445), "USD", "BTC", "USD"),
        ("NEW-PERPETUAL", "linear", None, None, "USDC", "NEW", "NEW"),
        (SOL, "linear", None, None, "USDC", "SOL", "SOL"),
    ]


def test_changes_of_a_listing_have_their_times(project: DbtProject) -> None:
    list_instrument(project, "10.5", BTC, "reversed")
    later = hour(0) + DAY
    project.land("10.5", [Candle(minute(0))])
    list_instrument(project, "11.5", BTC, "reversed", tick_size=0.25, seen_at=later)
    project.land("11.5", [Candle(minute(1))])
    project.build()
    assert project.query("select * from perpetuals_changes") == [
        (BTC, "tick_size", 0.5, 0.25, hour(0), later)
    ]
