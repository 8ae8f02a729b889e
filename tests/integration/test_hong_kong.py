"""The whole flow where neither the shell's nor the database's time zone is UTC."""

from __future__ import annotations

from functools import partial

import pytest

from extract.simulator import SimulatorConfig, running
from tests.support.perps import Perps
from tests.support.truth import rows, table, truth

ZONE = "Asia/Hong_Kong"
START, END = "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"


@pytest.fixture
def perps(perps: Perps) -> Perps:
    """Every command in a process of its own, as a person has it."""
    return partial(perps, alone=True)


def test_candles_report_and_clock_stay_utc(perps, database, server, tmp_path):
    admin = server.database("postgres", database.dbname)
    opened = admin.connect()
    with opened.cursor() as cursor:
        cursor.execute(f"alter database {database.dbname} set timezone to '{ZONE}'")
    opened.close()
    env = {"TZ": ZONE}
    with running(SimulatorConfig(clock="2024-01-03T00:00:30Z", requests_per_second=None)) as simulated:
        typed = ("--start", "2024-01-01", "--end", "2024-01-02")
        api = simulated.base_url
        loaded = perps(
            "backfill", "--instruments", "BTC-PERPETUAL", *typed, database=database, api=api, env=env
        )
        assert loaded.returncode == 0, loaded.stderr
        assert perps("update", database=database, api=api, env=env).returncode == 0
        built = perps(
            "dbt", "--", "build", "--exclude-resource-type", "unit_test", database=database, env=env
        )
        assert built.returncode == 0, built.stdout
        assert table(database) == truth(api, "BTC-PERPETUAL", START, END)
    assert perps("report", "--out", str(tmp_path), database=database, env=env).returncode == 0
    line = next(
        line for line in (tmp_path / "row-counts.txt").read_text().splitlines() if line.startswith("BTC")
    )
    assert line.split()[2:4] == ["2024-01-01T00:00:00Z", "2024-01-02T23:59:00Z"]
    asked = rows(database, "select min(window_start)::timestamptz, max(window_end) from deribit_raw.fetches")
    assert [time.timestamp() for time in asked[0]] == [1_704_067_200, 1_704_240_000]
