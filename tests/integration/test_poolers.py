"""A PgBouncer between this tool and its server: sessions that are shared are refused, others serve."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.perps import error_line, expect
from tests.support.pooler import pooling, unpack_pgbouncer
from tests.support.truth import rows

EXCHANGE = {"clock": "2024-01-03T00:00:30Z"}
MODE = "PgBouncer in transaction mode"
BACKFILL = ("backfill", "--instruments", "BTC-PERPETUAL", "--start", "2024-01-01", "--end", "2024-01-02")


@pytest.fixture(scope="module")
def pgbouncer() -> Iterator[Path]:
    # PostgreSQL's own account must get at it, which pytest's folders do not let it
    with tempfile.TemporaryDirectory(prefix="perps-pooler-") as folder:
        yield unpack_pgbouncer(Path(folder))


def test_a_pooler_in_transaction_mode_is_refused_before_anything_is_asked(
    perps, database, exchange, pgbouncer
):
    with pooling(pgbouncer, database, "transaction") as through:
        loaded = perps(*BACKFILL, database=through, api=exchange.base_url)
        built = perps("dbt", "--", "build", database=through)
        looked = perps("doctor", database=through, api=exchange.base_url)
    for done in (loaded, built):
        assert MODE in error_line(done)
    (wrong,) = [line for line in looked.stdout.splitlines() if line.startswith("WRONG")]
    assert wrong.split()[1] == "pooler"
    assert MODE in wrong
    assert looked.returncode == 1
    assert rows(database, "select to_regnamespace('deribit_raw')") == [(None,)]


@pytest.mark.long
def test_a_pooler_in_session_mode_serves(perps, database, exchange, pgbouncer):
    with pooling(pgbouncer, database, "session") as through:
        expect(perps(*BACKFILL, database=through, api=exchange.base_url))
        expect(perps("dbt", "--", "build", "--exclude-resource-type", "unit_test", database=through))
    assert rows(database, "select count(*) from perpetuals_ohlcv") == [(1440,)]
