"""The server's time zone and date style are not ours, on days that have 23 and 25 hours there."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.embedded.cluster import Cluster
from tests.support.exchange import BTC
from tests.support.flow import INSTRUMENTS, Flow, execute
from tests.support.truth import rows

DAYS = [
    ("2024-03-09T00:00:00Z", "2024-03-12T00:00:00Z"),  # New York, 10 March: 02:00 does not exist
    ("2024-03-30T00:00:00Z", "2024-04-01T00:00:00Z"),  # Berlin, 31 March
    ("2024-11-02T00:00:00Z", "2024-11-04T12:00:00Z"),  # New York, 3 November: 01:00 comes twice
]
OUTAGE = {"kind": "outage", "start": "2024-03-10T06:50:00Z", "end": "2024-03-10T07:10:00Z"}


@pytest.fixture
def abroad(flow: Flow, server: Cluster) -> Iterator[Flow]:
    """A flow into a database with another date style, as a role with another time zone."""
    name = flow.database.dbname
    administrator = server.database("postgres", name)
    execute(
        administrator,
        f"alter database {name} set datestyle to 'German'",
        f"alter database {name} set timezone to 'Europe/Berlin'",
        f"alter role perps in database {name} set timezone to 'America/New_York'",
    )
    yield flow
    execute(
        administrator, f"alter database {name} reset all", f"alter role perps in database {name} reset all"
    )


@pytest.mark.long
def test_the_time_zone_and_date_style_of_the_server_move_nothing(abroad: Flow, tmp_path: Path):
    flow = abroad
    flow.set_clock("2024-11-04T12:00:00Z")
    flow.set_faults(OUTAGE)
    for start, end in DAYS:
        flow.expect("backfill", "--instruments", *INSTRUMENTS, "--start", start, "--end", end)
    flow.expect("dbt", "--", "build", "--resource-type", "model", "--resource-type", "seed")
    flow.judge("clock", "time zone and date style of the server", *DAYS)

    counted = rows(
        flow.database,
        "select day::text, candles from quality.ohlcv_days where instrument = %s and candles > 0",
        BTC,
    )
    full = ["2024-03-09", "2024-03-11", "2024-03-30", "2024-03-31", "2024-11-02", "2024-11-03"]
    assert sorted(counted) == sorted(
        [(day, 1440) for day in full] + [("2024-03-10", 1420), ("2024-11-04", 720)]
    )

    flow.expect("report", "--out", str(tmp_path))
    with (tmp_path / "gap-report.csv").open() as file:
        gaps = [line for line in csv.DictReader(file) if line["instrument"] == BTC]
    assert sorted((gap["gap_start"], gap["gap_end"]) for gap in gaps) == [
        ("2024-03-10T06:49:00Z", "2024-03-10T07:10:00Z"),
        ("2024-03-11T23:59:00Z", "2024-03-30T00:00:00Z"),
        ("2024-03-31T23:59:00Z", "2024-11-02T00:00:00Z"),
    ]
    flow.expect("verify", "--instruments", BTC, "--start", "2024-03-10", "--end", "2024-03-11")
    flow.expect("reconcile", "--instruments", BTC, "--resolution", "1D")
    flow.expect("dbt", "--", "run", "--select", "exchange_bars", "ohlcv_reconciliation")
    identical = rows(
        flow.database,
        "select \"timestamp\"::text from quality.ohlcv_reconciliation where status = 'identical' order by 1",
    )
    days = ["2024-03-09", "2024-03-10", "2024-03-30", "2024-11-02", "2024-11-03"]
    assert identical == [(f"{day} 08:00:00+00",) for day in days]
    flow.expect("audit")
