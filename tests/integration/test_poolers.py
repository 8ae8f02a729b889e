"""A PgBouncer between this tool and its server: sessions that are shared are refused, others serve."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.simulator import SimulatorConfig, running
from tests.support.pooler import pooling, unpack_pgbouncer
from tests.support.truth import rows

BACKFILL = ("backfill", "--instruments", "BTC-PERPETUAL", "--start", "2024-01-01", "--end", "2024-01-02")


@pytest.fixture(scope="module")
def pgbouncer() -> Iterator[Path]:
    # PostgreSQL's own account must get at it, which pytest's folders do not let it
    with tempfile.TemporaryDirectory(prefix="perps-pooler-") as folder:
        yield unpack_pgbouncer(Path(folder))


@pytest.fixture(scope="module")
def exchange():
    with running(SimulatorConfig(clock="2024-01-03T00:00:30Z", requests_per_second=None)) as simulated:
        yield simulated


def test_a_pooler_in_transaction_mode_is_refused_before_anything_is_asked(
    perps, database, exchange, pgbouncer
):
    with pooling(pgbouncer, database, "transaction") as through:
        loaded = perps(*BACKFILL, database=through, api=exchange.base_url)
        built = perps("dbt", "--", "build", database=through)
    for done in (loaded, built):
        assert done.returncode == 1
        assert "PgBouncer in transaction mode" in done.stderr
        assert done.stderr.count("\n") == 1
    assert rows(database, "select to_regnamespace('deribit_raw')") == [(None,)]


@pytest.mark.long
def test_a_pooler_in_session_mode_serves(perps, database, exchange, pgbouncer):
    with pooling(pgbouncer, database, "session") as through:
        loaded = perps(*BACKFILL, database=through, api=exchange.base_url)
        assert loaded.returncode == 0, loaded.stderr
        built = perps(
            "dbt", "--", "--quiet", "build", "--exclude-resource-type", "unit_test", database=through
        )
        assert built.returncode == 0, built.stderr + built.stdout
    assert rows(database, "select count(*) from perpetuals_ohlcv") == [(1440,)]


def test_the_doctor_names_a_pooler_in_transaction_mode(perps, database, exchange, pgbouncer):
    with pooling(pgbouncer, database, "transaction") as through:
        done = perps("doctor", database=through, api=exchange.base_url)
    assert done.returncode == 1
    (wrong,) = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    assert wrong.startswith("WRONG   pooler ")
    assert "PgBouncer in transaction mode" in wrong
