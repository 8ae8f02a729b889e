"""Recorded daily candles, replayed by the simulator, through the whole flow."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.support.exchange import simulated
from tests.support.perps import expect
from tests.support.truth import rounded, rows, table

DAILY = ("--vars", '{base_resolution: "1D", gap_threshold_minutes: 1440}')
COLUMNS = ("open", "high", "low", "close", "volume_base")


def run_daily(perps, database, path: Path) -> None:
    wanted = ("--instruments", "BTC-PERPETUAL", "--start", "2016-12-01", "--resolution", "1D")
    with simulated(candles=path, clock="2024-01-01") as exchange:
        expect(perps("backfill", *wanted, database=database, api=exchange.base_url))


def expected(path: Path) -> list[tuple]:
    with path.open() as file:
        return [
            (int(row["tick_ms"]), "BTC-PERPETUAL", *(rounded(row[name]) for name in COLUMNS))
            for row in csv.DictReader(file)
        ]


def test_1601_recorded_days_are_in_the_table_as_the_file_says(shared, perps, database, parsed):
    path = shared / "deribit/BTC-PERPETUAL_1D_2018-08-14_2022-12-31.csv"
    run_daily(perps, database, path)
    expect(perps("dbt", "--", "build", *DAILY, database=database, env=parsed))
    assert table(database) == expected(path)
    assert len(expected(path)) == 1601


@pytest.fixture
def parsed(home: Path) -> dict[str, str]:
    """A target folder for these variables, so that the other tests need not parse the project again."""
    return {"DBT_TARGET_PATH": str(home / "target-daily")}


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Sixty made-up days that open at 08:00, without the eleventh."""
    path = tmp_path / "days.csv"
    lines = ["tick_ms,open,high,low,close,volume_base"]
    opens = 1_672_560_000_000  # 2023-01-01 08:00
    lines += [
        f"{opens + n * 86_400_000},{n + 10},{n + 12},{n + 9},{n + 11.5},{n + 0.25}"
        for n in range(60)
        if n != 10
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_day_that_is_missing_fails_the_build_and_is_named(days, perps, database, parsed):
    run_daily(perps, database, days)
    built = perps("dbt", "--", "build", *DAILY, database=database, env=parsed)
    assert built.returncode == 1
    assert "perpetuals_ohlcv_no_gaps" in built.stdout
    assert table(database) == expected(days)
    gaps = rows(database, "select gap_start::text, gap_end::text, gap_minutes from quality.ohlcv_gaps")
    assert gaps == [("2023-01-10 08:00:00+00", "2023-01-12 08:00:00+00", 1440)]
