"""Readers who stay: a build beside an open transaction ends in seconds, and views outlive builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dbt_project import DbtProject, candles, minute, own_project

BUILD = ("build", "--exclude-resource-type", "unit_test")
READ = """
set application_name = 'DBeaver';
select count(*) from quality.ohlcv_gaps;
select count(*) from quality.ohlcv_days;
select count(*) from quality.known_gaps;
select count(*) from public.perpetuals;
select count(*) from public.perpetuals_ohlcv_1h;
select count(*) from public.perpetuals_ohlcv
"""
VIEWS = """
select oid, oid::regclass::text, xmin::text, relacl::text from pg_class
where relkind = 'v' and relnamespace::regnamespace::text in ('public', 'quality', 'staging')
    and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')
order by 1
"""


@pytest.fixture
def built(project: DbtProject) -> DbtProject:
    """A build with a grant and a view of somebody else's on what it made."""
    project.land("10.5", [*candles(0, 60), *candles(70, 100)])
    assert project.run("build", "--resource-type", "model", "--resource-type", "seed").success
    project.query("grant usage on schema quality to public; grant select on quality.ohlcv_gaps to public")
    project.query("create schema dbt_somebody")
    project.query("create view dbt_somebody.long as select * from quality.ohlcv_gaps")
    return project


def finished(project: DbtProject, *command: str) -> tuple[bool, str]:
    """Run dbt as a process of its own, which must end; return whether it succeeded, and what it said."""
    running = project.start(*command)
    return running.wait() == 0, running.said.read_text()


def test_a_build_beside_an_idle_reader_ends_and_leaves_every_view_as_it_is(built: DbtProject) -> None:
    before = built.query(VIEWS)
    assert len(before) > 10
    built.land("11.5", candles(100, 120))
    with built.holding(READ):
        success, said = finished(built, *BUILD)
    assert not success, "the gap"
    assert "ERROR=2 " in said, said
    assert built.query("select count(*) from perpetuals_ohlcv") == [(110,)]
    assert built.query(VIEWS) == before
    assert built.query("select gap_minutes from dbt_somebody.long") == [(10,)]


def test_a_view_that_must_change_waits_seconds_for_a_reader_and_names_it(built: DbtProject) -> None:
    with built.holding(READ):
        reader = built.query("select pid from pg_stat_activity where application_name = 'DBeaver'")[0][0]
        built.query("update quality.definitions set definition = '' where relation = 'quality.ohlcv_gaps'")
        success, said = finished(built, "run", "--select", "ohlcv_gaps")
        # others can go on reading: nobody queues behind the build
        assert built.query("select count(*) from quality.ohlcv_gaps") == [(1,)]
    assert not success
    named = [line for line in said.splitlines() if f"session {reader} of " in line]
    assert named, said
    assert "quality.ohlcv_gaps" in named[0]
    assert "(DBeaver, idle in transaction)" in named[0]
    views = built.query(VIEWS)
    built.build("--select", "ohlcv_gaps")
    assert [view[:2] for view in built.query(VIEWS)] == [view[:2] for view in views], "replaced in its place"


def test_a_view_that_somebody_replaced_is_made_as_it_was(built: DbtProject) -> None:
    before = built.query("select pg_get_viewdef('quality.ohlcv_fill_runs'::regclass)")
    built.query(
        "create or replace view quality.ohlcv_fill_runs as select null::text as instrument,"
        " null::timestamptz as run_start, null::timestamptz as run_end, 1 as minutes"
    )
    built.build("--select", "ohlcv_fill_runs")
    assert built.query("select pg_get_viewdef('quality.ohlcv_fill_runs'::regclass)") == before


def test_a_view_with_other_columns_is_made_again_unless_one_of_others_stands_on_it(built: DbtProject) -> None:
    for view in ("ohlcv_fill_runs", "ohlcv_coverage"):
        built.query(f"drop view quality.{view}; create view quality.{view} as select 1 as other")
    built.query("create view dbt_somebody.wrong as select * from quality.ohlcv_coverage")
    outcome = built.run("run", "--select", "ohlcv_fill_runs", "ohlcv_coverage")
    assert outcome.statuses == {"ohlcv_fill_runs": "success", "ohlcv_coverage": "error"}
    assert "view dbt_somebody.wrong depends on view" in outcome.output
    assert built.query("select count(minutes) from quality.ohlcv_fill_runs") == [(0,)]
    assert built.query("select * from dbt_somebody.wrong") == [(1,)]


def test_a_seed_is_read_beside_a_reader_and_no_entry_is_there_twice(
    built: DbtProject, tmp_path: Path
) -> None:
    knowing = own_project(built.database, tmp_path)
    entry = f"BTC-PERPETUAL,{minute(59):%F %T},{minute(70):%F %T},maintenance,announced"
    seed = knowing.project / "dbt_project/seeds/known_gaps.csv"
    seed.write_text(f"instrument,gap_start,gap_end,reason,evidence\n{entry}\n")
    assert knowing.run("parse").success  # a fork cannot
    with built.holding(READ):
        for _ in range(2):
            assert finished(knowing, "seed")[0]
    assert built.query("select reason, note from quality.ohlcv_gaps") == [("known", "maintenance")]
    assert built.query("select count(*) from quality.known_gaps") == [(1,)]
