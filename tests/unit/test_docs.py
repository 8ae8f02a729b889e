"""README and docs say what the commands say, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extract.cli.parser import build_parser
from tests.docs import COMMANDS, DOCS, PAGES, PROJECT, QUERIES, help_of, rendered


def commands() -> set[str]:
    """Every command and action that the parser knows."""
    return set(re.findall(r"^    (\w+)", build_parser().format_help(), re.M)) - {"COMMAND"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_generated_is_what_the_commands_and_queries_say(page: Path):
    text = page.read_text(encoding="utf-8")
    # newer argparse aligns its columns otherwise
    assert rendered(text).split() == text.split(), "run: make docs"


def test_every_query_is_shown():
    text = (DOCS / "sql.md").read_text(encoding="utf-8")
    shown = text.split("<!-- the queries of dbt_project/queries")[1].split("<!-- end of the queries -->")[0]
    files = [path.name for path in sorted(QUERIES.glob("*.sql"))]
    assert re.findall(r"<code>(\w+\.sql)</code>", shown) == files
    assert len(files) == 10


def test_every_command_is_in_the_docs():
    assert commands() == {command.split()[0] for command in COMMANDS if command}


@pytest.mark.parametrize("command", [command for command in COMMANDS if command])
def test_help_says_what_a_command_is_for(command):
    usage, _, rest = help_of(command).partition("\n\n")
    assert usage.startswith(f"usage: perps {command}")
    assert len(rest.splitlines()[0]) > 15


def test_every_variable_of_the_settings_table_is_read():
    named = set(re.findall(r"`((?:PERPS|DERIBIT)_[A-Z_]+)`", (DOCS / "settings.md").read_text("utf-8")))
    sources = "".join(path.read_text() for path in (PROJECT / "extract").rglob("*.py"))
    read = set(re.findall(r"\"((?:PERPS|DERIBIT)_[A-Z_]+)\"", sources))
    assert named == read


def test_every_fault_in_the_docs_names_a_test_that_there_is():
    section = (DOCS / "failures.md").read_text(encoding="utf-8")
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    tests = PROJECT / "tests"
    for line in lines:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", line)
        assert named or line.startswith("| **"), line
        for file, test in named:
            assert f"\ndef {test}(" in (tests / file).read_text(encoding="utf-8"), f"{file}::{test}"
    assert len(lines) > 40


def test_every_link_leads_to_a_file_and_every_page_is_linked_from_the_readme():
    linked = set()
    for page in (
        PROJECT / "README.md",
        *DOCS.rglob("*.md"),
        *(PROJECT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")),
    ):
        for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if target and not target.startswith("https://"):
                assert (page.parent / target).is_file(), f"{page.name}: {target}"
                linked.add((page.parent / target).resolve())
    assert linked >= set(DOCS.rglob("*.md"))
