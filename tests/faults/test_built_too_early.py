"""A build after a load that was killed when dlt had made the raw tables, and the load nothing of them yet."""

from __future__ import annotations

from tests.support.flow import BACKFILL, BUILD, Flow

DIES = (
    "import os; from extract.database import raw_tables; "
    "raw_tables.prepare = lambda _: os.kill(os.getpid(), 9)"
)


def test_views_on_raw_tables_that_are_half_made_keep_no_load_from_making_them(flow: Flow):
    assert flow.spawn(*BACKFILL, code=DIES).returncode == -9
    refused = flow.spawn(*BUILD)
    assert refused.returncode == 1
    said = " ".join((refused.stdout + refused.stderr).split())
    assert "expected deribit_raw.candles to be a hypertable, got a plain table" in said
    flow.recover("process", "kill -9 of the load, before candles is a hypertable, then dbt")
