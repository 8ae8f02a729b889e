"""A dbt process that is killed in the middle of its work leaves nothing for a person to do."""

from __future__ import annotations

import signal

import pytest

from extract.database.database import Database
from tests.support.dbt_project import DbtProject, candles, parsed_once
from tests.support.waiting import wait_until

MODEL = ("--select", "perpetuals_ohlcv")


@pytest.fixture
def project(database: Database, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    project = parsed_once(database, tmp_path_factory)
    project.create_raw_tables()
    project.land("10.5", candles(0, 50))
    project.build("--select", "+stg_candles")
    return project


def kill_while_waiting_for(project: DbtProject, table: str, read_before: str) -> None:
    """Start a build, kill -9 it once it waits for `table`, and let its server session find out."""
    with project.locked(table):
        running = project.start("run", *MODEL)
        wait_until(lambda: project.waiting("relation") > 0, "a build that waits for the table")
        running.kill()
        assert running.wait() == -signal.SIGKILL, running.said.read_text()
        marks = project.query(
            "select read_to::text from quality.watermarks where relation ~ 'perpetuals_ohlcv$'"
        )
    assert marks == ([(read_before,)] if read_before else []), "a mark moved before its build had ended"


def test_a_first_build_and_an_increment_survive_kill_9(project: DbtProject) -> None:
    kill_while_waiting_for(project, "deribit_raw.candles", read_before="")
    project.build(*MODEL)
    assert project.query("select count(*) from perpetuals_ohlcv") == [(50,)]

    project.land("11.5", candles(40, 80, close=99.0))
    kill_while_waiting_for(project, "public.perpetuals_ohlcv", read_before="10.5")
    project.build(*MODEL)
    after_kills = project.checksum()

    project.query("drop table perpetuals_ohlcv cascade")
    project.build(*MODEL)
    assert project.checksum() == after_kills
    assert after_kills[0] == 80
