"""The README says what the commands say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from extract.cli.main import build_parser
from tests.readme import COMMANDS, QUERIES, README, help_of, rendered


def commands() -> set[str]:
    """Every command and action that the parser knows."""
    return set(re.findall(r"^    (\w+)", build_parser().format_help(), re.M)) - {"COMMAND"}


def test_the_readmes_help_is_what_the_commands_print():
    text = README.read_text(encoding="utf-8")
    # newer argparse aligns its columns otherwise
    assert rendered(text).split() == text.split(), "run: make readme"


def test_the_readme_shows_every_query():
    text = README.read_text(encoding="utf-8")
    shown = text.split("<!-- the queries of dbt_project/queries")[1].split("<!-- end of the queries -->")[0]
    files = [path.name for path in sorted(QUERIES.glob("*.sql"))]
    assert re.findall(r"<code>(\w+\.sql)</code>", shown) == files
    assert len(files) == 10


def test_every_command_is_in_the_readme():
    assert commands() == {command.split()[0] for command in COMMANDS if command}


@pytest.mark.parametrize("command", [command for command in COMMANDS if command])
def test_help_says_what_a_command_is_for(command):
    usage, _, rest = help_of(command).partition("\n\n")
    assert usage.startswith(f"usage: perps {command}")
    assert len(rest.splitlines()[0]) > 15


def test_every_variable_of_the_settings_table_is_read():
    text = README.read_text(encoding="utf-8")
    section = text.split("## Settings")[1].split("## ")[0]
    named = set(re.findall(r"`((?:PERPS|DERIBIT)_[A-Z_]+)`", section))
    sources = "".join(path.read_text() for path in Path(README.parent, "extract").rglob("*.py"))
    read = set(re.findall(r"\"((?:PERPS|DERIBIT)_[A-Z_]+)\"", sources))
    assert named == read


def test_every_fault_in_the_readme_names_a_test_that_there_is():
    section = README.read_text(encoding="utf-8").split("## What happens when")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    tests = README.parent / "tests"
    for line in lines:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", line)
        assert named or line.startswith("| **"), line
        for file, test in named:
            assert f"\ndef {test}(" in (tests / file).read_text(encoding="utf-8"), f"{file}::{test}"
    assert len(lines) > 40
