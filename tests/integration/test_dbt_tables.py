"""What one build makes of raw candles, read from the database."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.support.dbt_project import Candle, DbtProject, candles, minute

UNUSABLE = {
    20: ({"close": None}, "missing_value"),
    21: ({"open": float("nan")}, "not_a_number"),
    22: ({"high": float("inf")}, "infinite"),
    23: ({"volume": 1e10}, "too_large"),
}


@pytest.fixture(scope="module")
def built(warm: DbtProject) -> DbtProject:
    project = warm
    project.start_anew()
    first = candles(0, 10) + candles(13, 25) + candles(0, 5, instrument="ETH-PERPETUAL")
    first += candles(0, 5, resolution="5", close=1.0)
    project.land("900000000.5", [row for row in first if row.timestamp != minute(23)])
    revised = [
        Candle(minute(3), close=99.0),
        Candle(minute(4), open=23456789.12345678, high=99999999.99999999),
    ]
    unusable = [Candle(minute(at), **columns) for at, (columns, _) in UNUSABLE.items()]
    revised.append(Candle(minute(6), high=80.0, low=120.0, open=100.0, close=100.0))
    off_grid = [Candle(minute(24).replace(second=1))]
    project.land("1700000000.5", revised + unusable + off_grid)
    project.land("1700000001.5", [Candle(minute(5), close=1.0)], complete=False)
    project.build()
    return project


def close_of(project: DbtProject, at: int, instrument: str = "BTC-PERPETUAL") -> list[Decimal]:
    at_it = f"timestamp = '{minute(at)}' and instrument = '{instrument}'"
    return [close for (close,) in project.query(f"select close from perpetuals_ohlcv where {at_it}")]


def test_the_table_has_exactly_the_seven_columns_in_order(built: DbtProject) -> None:
    columns = built.query(
        "select column_name, data_type, numeric_precision, numeric_scale, is_nullable"
        " from information_schema.columns"
        " where table_schema = 'public' and table_name = 'perpetuals_ohlcv' order by ordinal_position"
    )
    assert columns == [
        ("timestamp", "timestamp with time zone", None, None, "NO"),
        ("instrument", "text", None, None, "NO"),
        *((name, "numeric", 18, 8, "NO") for name in ("open", "high", "low", "close", "volume")),
    ]


def test_the_table_is_a_hypertable_with_chunks_of_thirty_days_or_of_seven_that_are_compressed(
    built: DbtProject,
) -> None:
    columnstore = built.query("show timescaledb.license") == [("timescale",)]
    dimensions = built.query(
        "select column_name, time_interval from timescaledb_information.dimensions"
        " where hypertable_schema = 'public' and hypertable_name = 'perpetuals_ohlcv'"
    )
    assert dimensions == [("timestamp", timedelta(days=7 if columnstore else 30))]


def test_the_table_has_its_primary_key_and_one_index(built: DbtProject) -> None:
    constraints = built.query(
        "select pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = 'public.perpetuals_ohlcv'::regclass and contype <> 'n'"
    )
    indexes = built.query(
        "select indexname, split_part(indexdef, ' USING ', 2) from pg_indexes"
        " where schemaname = 'public' and tablename = 'perpetuals_ohlcv' order by 1"
    )
    assert constraints == [('PRIMARY KEY ("timestamp", instrument)',)]
    assert indexes == [
        ("idx_perpetuals_instrument", 'btree (instrument, "timestamp" DESC)'),
        ("perpetuals_ohlcv_pkey", 'btree ("timestamp", instrument)'),
    ]


def test_the_load_with_the_larger_number_wins_not_the_larger_text(built: DbtProject) -> None:
    assert close_of(built, 3) == [Decimal(99)]


def test_an_unusable_candle_leaves_the_earlier_good_one_and_is_absent_where_there_is_none(
    built: DbtProject,
) -> None:
    assert [close_of(built, at) for at in (20, 21, 22, 23)] == [[Decimal(105)]] * 3 + [[]]


def test_rows_of_another_resolution_and_of_an_incomplete_load_are_invisible(built: DbtProject) -> None:
    assert close_of(built, 5) == [Decimal(105)]
    assert built.query("select count(*) from perpetuals_ohlcv where close = 1") == [(0,)]


def test_doubles_keep_eight_decimals(built: DbtProject) -> None:
    found = built.query("select open, high from perpetuals_ohlcv where high > 1000")
    assert found == [(Decimal("23456789.12345678"), Decimal("99999999.99999999"))]


def test_unusable_candles_are_kept_with_their_reason_and_load(built: DbtProject) -> None:
    rejected = built.query(
        "select timestamp, reason, load_id from quality.rejected_candles order by timestamp"
    )
    expected = [(minute(at), reason, "1700000000.5") for at, (_, reason) in UNUSABLE.items()]
    assert rejected == [*expected, (minute(24).replace(second=1), "off_grid", "1700000000.5")]


def test_gaps_are_every_missing_bucket_between_two_candles(built: DbtProject) -> None:
    gaps = built.query(
        "select instrument, gap_start, gap_end, gap_minutes from quality.ohlcv_gaps order by gap_start"
    )
    assert gaps == [
        ("BTC-PERPETUAL", minute(9), minute(13), 3),
        ("BTC-PERPETUAL", minute(22), minute(24), 1),
    ]


def test_coverage_counts_from_the_first_candle_to_the_last(built: DbtProject) -> None:
    coverage = built.query(
        "select instrument, candles, first_candle, last_candle, expected, missing, coverage_percent"
        " from quality.ohlcv_coverage order by instrument"
    )
    assert coverage == [
        ("BTC-PERPETUAL", 21, minute(0), minute(24), 25, 4, Decimal("84.0000")),
        ("ETH-PERPETUAL", 5, minute(0), minute(4), 5, 0, Decimal("100.0000")),
    ]


def test_violations_name_the_rule(built: DbtProject) -> None:
    violations = built.query("select timestamp, instrument, rule from quality.ohlcv_violations order by rule")
    assert violations == [(minute(6), "BTC-PERPETUAL", "high_below_low")]
