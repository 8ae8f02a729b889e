"""The generic tests on tables that are right, wrong and empty, and what a failing test leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from extract.server.connection import Connection
from tests.integration.dbt_harness import REPOSITORY, Candle, DbtProject, Outcome, candles, minute

FIXTURES = """
create schema fixtures;
create table fixtures.right as
select 'A' as symbol, 'A' as instrument, at as opened_at, at as timestamp,
    1.5 as open, 2.0 as high, 1.0 as low, 1.2 as close, 0.0 as volume
from generate_series(timestamptz '2024-01-01 00:00+00', '2024-01-01 03:19+00', interval '1 minute') as at;
create table fixtures.empty as select * from fixtures.right where false;
create table fixtures.five_apart as select * from fixtures.right
where opened_at not between '2024-01-01 01:01+00' and '2024-01-01 01:04+00';
create table fixtures.six_apart as select * from fixtures.right
where opened_at not between '2024-01-01 01:01+00' and '2024-01-01 01:05+00';
create table fixtures.two_instruments as
select * from fixtures.right where opened_at < '2024-01-01 00:10+00'
union all
select 'B', 'B', opened_at, timestamp, open, high, low, close, volume
from fixtures.right where opened_at >= '2024-01-01 03:00+00';
create table fixtures.exactly_99 as select * from fixtures.right
where opened_at not in ('2024-01-01 01:00+00', '2024-01-01 02:00+00');
create table fixtures.below_99 as select * from fixtures.exactly_99 where opened_at <> '2024-01-01 03:00+00';
create table fixtures.broken as
select 'A' as instrument, timestamptz '2024-01-01 00:00+00' + number * interval '1 minute' as timestamp,
    open, high, low, close, volume
from (values
    (1, 1.5, 1.0, 2.0, 1.5, 1.0), (2, 3.0, 2.0, 1.0, 1.5, 1.0), (3, 1.5, 2.0, 1.0, 0.5, 1.0),
    (4, 0.0, 1.0, 0.0, 1.0, 1.0), (5, 1.5, 2.0, 1.0, 1.5, -1.0)
) as rows (number, open, high, low, close, volume);
"""

PASSING = {
    "no_gaps": ("right", "five_apart", "two_instruments"),
    "ohlcv_sanity": ("right",),
    "row_coverage": ("right", "exactly_99"),
}
FAILING = {
    "no_gaps": ("six_apart", "empty"),
    "ohlcv_sanity": ("broken", "empty"),
    "row_coverage": ("below_99", "empty"),
}
ARGUMENTS = {
    "no_gaps": "{instrument_column: symbol, timestamp_column: opened_at}",
    "ohlcv_sanity": "{}",
    "row_coverage": "{min_percent: 99}",
}


def fixture_sources() -> str:
    """Return the properties that put every generic test on the tables of FIXTURES."""
    lines = ["sources:", "  - name: fixtures", "    tables:"]
    tables = sorted({table for chosen in (PASSING, FAILING) for names in chosen.values() for table in names})
    for table in tables:
        lines += [f"      - name: {table}", "        data_tests:"]
        for test, arguments in ARGUMENTS.items():
            if table in PASSING[test] + FAILING[test]:
                lines += [f"          - {test}: {{name: {test}_{table}, arguments: {arguments}}}"]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def project(module_database: Connection, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    work: Path = tmp_path_factory.mktemp("dbt")
    copy = work / "project"
    shutil.copytree(REPOSITORY / "dbt_project", copy / "dbt_project")
    shutil.copyfile(REPOSITORY / "dbt_project.yml", copy / "dbt_project.yml")
    (copy / "dbt_project/models/fixtures.yml").write_text(fixture_sources())
    project = DbtProject(module_database, work, copy)
    project.create_raw_tables()
    project.query(FIXTURES)
    project.land("10.5", [*candles(0, 500), *candles(508, 1000), Candle(minute(2000), open=None)])
    return project


@pytest.fixture(scope="module")
def parsed(project: DbtProject) -> Outcome:
    return project.run("parse", "--no-partial-parse", "--show-all-deprecations")


@pytest.fixture(scope="module")
def outcome(project: DbtProject, parsed: Outcome) -> Outcome:
    """Build from what `parsed` has left, which saves a second parse."""
    return project.run("build")


@pytest.mark.parametrize(
    ("test", "table"), [(test, table) for test, tables in PASSING.items() for table in tables]
)
def test_a_right_table_passes(outcome: Outcome, test: str, table: str) -> None:
    assert outcome.statuses[f"{test}_{table}"] == "pass"


@pytest.mark.parametrize(
    ("test", "table"), [(test, table) for test, tables in FAILING.items() for table in tables]
)
def test_a_wrong_or_empty_table_fails(outcome: Outcome, project: DbtProject, test: str, table: str) -> None:
    assert outcome.statuses[f"{test}_{table}"] == "fail"
    problems = project.query(f"select problem from test_failures.{test}_{table}")
    assert problems
    assert (problems == [("no rows",)]) == (table == "empty")


@pytest.mark.usefixtures("outcome")
def test_each_broken_rule_is_a_row_of_the_stored_failures(project: DbtProject) -> None:
    problems = {row[0] for row in project.query("select problem from test_failures.ohlcv_sanity_broken")}
    assert problems == {
        "high_below_low",
        "open_outside_range",
        "close_outside_range",
        "price_not_positive",
        "volume_negative",
    }


def test_a_build_on_candles_with_a_hole_fails_by_name_and_still_makes_every_model(
    outcome: Outcome, project: DbtProject
) -> None:
    assert not outcome.success
    expected = {
        "perpetuals_ohlcv_no_gaps": "fail",
        "perpetuals_ohlcv_sanity": "pass",
        "perpetuals_ohlcv_coverage_99": "pass",
        "perpetuals_ohlcv_coverage_100": "warn",
        "no_rejected_candles": "fail",
    }
    assert {name: outcome.statuses[name] for name in expected} == expected
    assert "skipped" not in outcome.statuses.values()
    stored = project.query(
        "select gap_start, gap_end, gap_minutes from test_failures.perpetuals_ohlcv_no_gaps"
    )
    assert stored == [(minute(499), minute(508), 8)]
    assert stored == project.query("select gap_start, gap_end, gap_minutes from quality.ohlcv_gaps")


def test_every_unit_test_passes(outcome: Outcome) -> None:
    units = {
        name: status
        for name, status in outcome.statuses.items()
        if name.startswith(("stg_", "perpetuals_ohlcv_"))
    }
    chosen = [status for name, status in units.items() if "_no_gaps" not in name and "_coverage_" not in name]
    assert len(chosen) >= 7
    assert set(chosen) <= {"pass", "success"}


def test_freshness_is_the_newest_answered_window(project: DbtProject, outcome: Outcome) -> None:
    project.query(
        "insert into deribit_raw.fetches (window_end, status)"
        " values (now() - interval '2 hours', 'ok'), (now(), 'no_data')"
    )
    assert project.run("source", "freshness").statuses["fetches"] == "warn"


def test_parsing_gives_no_warning(parsed: Outcome) -> None:
    assert parsed.success
    lines = [line.upper() for line in parsed.output.splitlines() if "running dbt" not in line]
    assert not [line for line in lines if "WARNING" in line or "DEPRECAT" in line]
