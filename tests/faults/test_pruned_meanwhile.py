"""Full answers are deleted three days after: also in the moment in which a build asks what they touched."""

from __future__ import annotations

import pytest

from extract.database.cleaning import FETCHES_KEPT, PRUNE_FETCHES
from extract.database.database import Database
from tests.support.dbt_project import candles, parsed_once
from tests.support.waiting import wait_until

MODEL = ("--select", "perpetuals_ohlcv")
FOUR_DAYS = 4 * 86_400


def test_a_build_misses_nothing_whose_fetch_is_deleted_while_it_begins(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = parsed_once(database, tmp_path_factory)
    project.create_raw_tables()
    project.land("10.5", candles(0, 50))
    project.build("--select", "+perpetuals_ohlcv")
    project.land("11.5", candles(50, 80))

    opened = database.connect(autocommit=False)
    with opened.cursor() as cursor:
        cursor.execute("lock table deribit_raw.fetches in access exclusive mode")
        running = project.start("run", *MODEL)
        wait_until(lambda: project.waiting("relation") > 0, "a build that asks for fetches")
        project.complete(f"{FOUR_DAYS}.5")  # a load after a long pause, and what it tidies up
        cursor.execute(PRUNE_FETCHES, [FETCHES_KEPT])
        assert cursor.rowcount == 2
    opened.commit()
    opened.close()
    assert running.wait() == 0, running.said.read_text()
    project.build(*MODEL)
    assert project.query("select count(*) from perpetuals_ohlcv") == [(80,)]
