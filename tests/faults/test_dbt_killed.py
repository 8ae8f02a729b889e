"""A dbt process that is killed in the middle of its work leaves nothing for a person to do."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from extract.server.connection import Connection
from tests.integration.dbt_harness import DbtProject, candles, wait_until

MODEL = ("--select", "perpetuals_ohlcv")


@pytest.fixture
def project(database: Connection, tmp_path: Path) -> DbtProject:
    project = DbtProject(database, tmp_path)
    project.create_raw_tables()
    project.land("10.5", candles(0, 50))
    project.build("--select", "stg_candles")
    return project


def kill_while_waiting_for(project: DbtProject, table: str, claimed_before: int) -> None:
    """Start a build, kill -9 it once it waits for `table`, and let its server session find out."""
    with project.locked(table):
        running = project.start("run", *MODEL)
        wait_until(lambda: project.waiting("relation") > 0, "a build that waits for the table")
        running.kill()
        assert running.wait() == -signal.SIGKILL, running.said.read_text()
        claims = project.query("select count(*) from quality.consumed_loads where model = 'perpetuals_ohlcv'")
    assert claims == [(claimed_before,)], "a claim was visible before its build had ended"


def test_counting_a_load_survives_kill_9(project: DbtProject) -> None:
    counted = "select load_id, candles from quality.loaded_days order by 1"
    assert project.query(counted) == [("10.5", 50)]
    project.land("9.5", candles(50, 60))
    kill_while_waiting_for(project, "deribit_raw.candles", claimed_before=0)
    # the server may have finished the statement that it had been sent, but never half of it
    assert project.query(counted) in ([("10.5", 50)], [("10.5", 50), ("9.5", 10)])
    project.build(*MODEL)
    assert project.query(counted) == [("10.5", 50), ("9.5", 10)]
    assert project.query("select count(*) from perpetuals_ohlcv") == [(60,)]


def test_a_first_build_and_an_increment_survive_kill_9(project: DbtProject) -> None:
    kill_while_waiting_for(project, "deribit_raw.candles", claimed_before=0)
    project.build(*MODEL)
    assert project.query("select count(*) from perpetuals_ohlcv") == [(50,)]

    project.land("11.5", candles(40, 80, close=99.0))
    kill_while_waiting_for(project, "public.perpetuals_ohlcv", claimed_before=1)
    project.build(*MODEL)
    after_kills = project.checksum()

    project.query("drop table perpetuals_ohlcv cascade")
    project.build(*MODEL)
    assert project.checksum() == after_kills
    assert after_kills[0] == 80
