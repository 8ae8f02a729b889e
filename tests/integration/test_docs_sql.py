"""The SQL in README and docs runs, and the tables that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extract.database.database import Database
from tests.docs import PROJECT, WRITTEN, inline_of, page_text, statements_of

EXCHANGE = {"clock": "2024-01-04"}
"""Three days of candles."""
TABLE = re.compile(r"\b(?:quality|staging|deribit_raw)\.[a-z_]+")


def name_of(page: Path) -> str:
    """Return a page's path."""
    return str(page.relative_to(PROJECT))


# the SQL of python.md is DuckDB's
RUN = [page for page in WRITTEN if page.name != "python.md" and statements_of(page_text(page))]


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_sql_of_a_page_runs(page: Path, loaded: Database):
    with loaded.connect(autocommit=False) as opened, opened.cursor() as cursor:
        for statement in statements_of(page_text(page)):
            cursor.execute(statement)
            opened.rollback()


def test_the_readme_shows_an_answer_of_its_query(loaded: Database):
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    query = next(sql for sql in statements_of(text) if "time_bucket" in sql)
    with loaded.reading() as cursor:
        cursor.execute(query)
        header = [column.name for column in cursor.description or ()]
    shown = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if " | " in line]
    assert header in shown


def test_the_tables_that_pages_name_exist(loaded: Database):
    named = {name for page in WRITTEN for text in inline_of(page_text(page)) for name in TABLE.findall(text)}
    assert named
    with loaded.reading() as cursor:
        cursor.execute(
            "select name from unnest(%s::text[]) as name where to_regclass(name) is null", [list(named)]
        )
        assert not cursor.fetchall()
