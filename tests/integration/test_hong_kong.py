"""The whole flow where neither the shell's nor the database's time zone is UTC."""

from __future__ import annotations

from functools import partial

from tests.support.perps import expect
from tests.support.truth import execute, rows, table, truth

ZONE = "Asia/Hong_Kong"
EXCHANGE = {"clock": "2024-01-03T00:00:30Z"}
START, END = "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"


def test_candles_report_and_clock_stay_utc(alone, database, exchange, server, tmp_path):
    administrator = server.database("postgres", database.dbname)
    execute(administrator, f"alter database {database.dbname} set timezone to '{ZONE}'")
    perps = partial(alone, database=database, api=exchange.base_url, env={"TZ": ZONE})
    typed = ("--start", "2024-01-01", "--end", "2024-01-02")
    expect(perps("backfill", "--instruments", "BTC-PERPETUAL", *typed))
    expect(perps("run", "--out", str(tmp_path)))
    assert table(database) == truth(exchange.base_url, "BTC-PERPETUAL", START, END)
    counts = (tmp_path / "row-counts.txt").read_text().splitlines()
    line = next(line for line in counts if line.startswith("BTC"))
    assert line.split()[2:4] == ["2024-01-01T00:00:00Z", "2024-01-02T23:59:00Z"]
    asked = rows(
        database,
        "select min(window_start), max(window_end) from deribit_raw.fetches where endpoint = 'candles'",
    )
    assert [time.timestamp() for time in asked[0]] == [1_704_067_200, 1_704_240_000]
