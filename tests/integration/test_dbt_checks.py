"""The generic tests on tables that are right, wrong and empty, and what a failing test leaves behind."""

from __future__ import annotations

import json
import os
from typing import Any
from unittest.mock import patch

import pytest
from dbt.cli.main import dbtRunner

from extract.database.database import Database
from tests.support.dbt_project import Candle, DbtProject, DbtResult, candles, minute, own_project

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
create table fixtures.fresh as
select timestamptz '2024-01-01 03:19+00' as last_candle, timestamptz '2024-01-01 04:20+00' as checked_at,
    'A' as instrument, 60 as tail_minutes;
create table fixtures.late as
select last_candle, checked_at, instrument, 61 as tail_minutes from fixtures.fresh;
create table fixtures.explained as
select 'A' as instrument, timestamptz '2024-01-01 01:00+00' as gap_start,
    timestamptz '2024-01-01 01:06+00' as gap_end, 5 as gap_minutes, 'source' as reason;
create table fixtures.unexplained as
select instrument, gap_start, gap_end, gap_minutes, 'unfetched' as reason from fixtures.explained;
create table fixtures.narrow as
select instrument, gap_start, gap_end - interval '1 minute' as gap_end, 4 as gap_minutes, reason
from fixtures.unexplained;
create table fixtures.no_violations as
select *, null::text as rule from fixtures.right where false;
create table fixtures.violations as select *, 'volume_negative' as rule from fixtures.right limit 1;
create table fixtures.covered as
select 'A' as instrument, 99 as candles, null::timestamptz as first_candle, null::timestamptz as last_candle,
    100 as expected, 1 as missing, 99.0 as coverage_percent;
create table fixtures.uncovered as
select instrument, candles - 1 as candles, first_candle, last_candle, expected, missing, coverage_percent
from fixtures.covered;
"""

GAPS = {"explained": "pass", "narrow": "pass", "unexplained": "fail"}
BY_MODEL = {
    "no_gaps": ("gaps", GAPS, ", reasons: [unfetched]"),
    "no_tail_gap": ("coverage", {"fresh": "pass", "late": "fail"}, ""),
    "ohlcv_sanity": ("violations", {"no_violations": "pass", "violations": "fail"}, ""),
    "row_coverage": ("coverage", {"covered": "pass", "uncovered": "fail"}, ", min_percent: 99"),
}
"""What a test reads instead of every candle: the argument, the tables and what is to come of them."""

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
        if table in ("right", "empty"):
            lines += [line for test in BY_MODEL for line in reading_a_model(test, table)]
    lines += [f"      - name: {found}" for _, found_in, _ in BY_MODEL.values() for found in found_in]
    return "\n".join(lines)


def reading_a_model(test: str, table: str) -> list[str]:
    """Return the tests on a table that read what a model has found in it."""
    argument, found_in, more = BY_MODEL[test]
    return [
        f"          - {test}: {{name: {test}_{table}_{found},"
        f" arguments: {{{argument}: \"source('fixtures', '{found}')\"{more}}}}}"
        for found in found_in
    ]


@pytest.fixture(scope="module")
def project(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    project = own_project(module_database, tmp_path_factory.mktemp("dbt"))
    (project.project / "dbt_project/models/fixtures.yml").write_text(fixture_sources())
    project.create_raw_tables()
    project.query(FIXTURES)
    project.land("10.5", [*candles(0, 500), *candles(508, 1000), Candle(minute(2000), open=None)])
    return project


@pytest.fixture(scope="module")
def parsed(project: DbtProject) -> DbtResult:
    return project.run("parse", "--no-partial-parse", "--show-all-deprecations")


@pytest.fixture(scope="module")
def outcome(project: DbtProject, parsed: DbtResult) -> DbtResult:
    """Build from what `parsed` has left, which saves a second parse."""
    return project.run("build", "--store-failures")


@pytest.mark.parametrize("test", ARGUMENTS)
def test_right_tables_pass_and_wrong_or_empty_ones_fail(
    outcome: DbtResult, project: DbtProject, test: str
) -> None:
    assert {table: outcome.statuses[f"{test}_{table}"] for table in PASSING[test] + FAILING[test]} == {
        **dict.fromkeys(PASSING[test], "pass"),
        **dict.fromkeys(FAILING[test], "fail"),
    }
    for table in FAILING[test]:
        problems = project.query(f"select problem from test_failures.{test}_{table}")
        assert problems
        assert (problems == [("no rows",)]) == (table == "empty")


@pytest.mark.parametrize("test", BY_MODEL)
def test_what_a_model_has_found_decides_and_an_empty_table_fails(outcome: DbtResult, test: str) -> None:
    _, expected, _ = BY_MODEL[test]
    assert {found: outcome.statuses[f"{test}_right_{found}"] for found in expected} == expected
    assert {outcome.statuses[f"{test}_empty_{found}"] for found in expected} == {"fail"}


@pytest.mark.usefixtures("outcome")
def test_each_broken_rule_is_a_row_of_the_stored_failures(project: DbtProject) -> None:
    problems = project.query("select problem from test_failures.ohlcv_sanity_broken order by timestamp")
    assert problems == [
        ("high_below_low",),
        ("open_outside_range",),
        ("close_outside_range",),
        ("price_not_positive",),
        ("volume_negative",),
    ]


def test_a_build_on_candles_with_a_hole_fails_by_name_and_still_makes_every_model(
    outcome: DbtResult, project: DbtProject
) -> None:
    assert not outcome.success
    expected = {
        "perpetuals_ohlcv_no_gaps": "fail",
        "perpetuals_ohlcv_no_gaps_at_the_source": "pass",
        "perpetuals_ohlcv_no_tail_gap": "warn",
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
    assert [(*stored[0], "unfetched")] == project.query(
        "select gap_start, gap_end, gap_minutes, reason from quality.ohlcv_gaps"
    )


def test_every_unit_test_passes(outcome: DbtResult, project: DbtProject) -> None:
    listed = project.run("ls", "--resource-type", "unit_test")
    units = {line.rpartition(".")[2] for line in listed.output.splitlines() if "unit_test:" in line}
    assert len(units) >= 9
    assert {outcome.statuses[name] for name in units} == {"pass"}


@pytest.fixture(scope="module")
def documented(outcome: DbtResult, project: DbtProject) -> dict[str, dict[str, Any]]:
    """Generate dbt's docs; return their manifest and catalog."""
    arguments = [each for each in project.arguments("docs", "generate") if each != "--no-write-json"]
    with patch.dict(os.environ, project.environment()):
        assert dbtRunner().invoke(arguments).success
    return {
        name: json.loads((project.work / f"target/{name}.json").read_text())
        for name in ("manifest", "catalog")
    }


def test_everything_is_described(documented: dict[str, dict[str, Any]]) -> None:
    manifest = documented["manifest"]
    nodes = [node for kind in ("nodes", "sources", "exposures", "macros") for node in manifest[kind].values()]
    kinds = ("model", "seed", "source", "exposure", "macro")
    ours = [
        node for node in nodes if node["package_name"] == "deribit_perps" and node["resource_type"] in kinds
    ]
    own = [node for node in ours if node.get("source_name") != "fixtures"]
    missing = [node["name"] for node in own if not node["description"].strip()]
    missing += [
        f"{node['name']}.{name}"
        for node in own
        for name, column in (node.get("columns") or {}).items()
        if not column["description"].strip()
    ]
    assert {node["resource_type"] for node in own} == set(kinds)
    assert missing == []


def test_sql_clients_show_the_description_of_every_column_of_every_model(
    documented: dict[str, dict[str, Any]],
) -> None:
    described, catalog = documented["manifest"]["nodes"], documented["catalog"]["nodes"]
    models = [name for name in described if name.startswith(("model.", "seed."))]
    assert len(models) > 20
    for name in models:
        shown, columns = catalog[name]["columns"], described[name]["columns"]
        assert set(shown) == set(columns), name
        if name.startswith("model."):
            wanted = {column: each["description"].strip() for column, each in columns.items()}
            assert {column: each["comment"] for column, each in shown.items()} == wanted, name
            assert catalog[name]["metadata"]["comment"] == described[name]["description"].strip(), name


def test_parsing_gives_no_warning(parsed: DbtResult) -> None:
    assert parsed.success
    lines = [line.upper() for line in parsed.output.splitlines() if "running dbt" not in line]
    assert not [line for line in lines if "WARNING" in line or "DEPRECAT" in line]
