"""README and docs say what the commands say; their commands can be typed and their links lead somewhere."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest
from dbt.cli.exceptions import DbtUsageException
from dbt.cli.flags import args_to_context

from extract.cli.parser import build_parser
from tests.docs import (
    COMMANDS,
    DOCS,
    PAGES,
    PROJECT,
    QUERIES,
    WRITTEN,
    anchors_of,
    commands_of,
    help_of,
    inline_of,
    page_text,
    rendered,
)


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
    assert len(files) == 14


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
    lines = [line for line in section.splitlines() if line.startswith("|")]
    faults = [line for line in lines if not line.startswith(("|---", "| what happens |"))]
    tests = PROJECT / "tests"
    for line in faults:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", line)
        assert named, line
        for file, test in named:
            assert f"\ndef {test}(" in (tests / file).read_text(encoding="utf-8"), f"{file}::{test}"
    assert len(faults) > 40


def test_every_link_leads_somewhere_and_every_page_is_linked():
    linked = set()
    for page in (*WRITTEN, PROJECT / "CHANGELOG.md", PROJECT / "SECURITY.md"):
        for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("https://"):
                file = (page.parent / target).resolve() if target else page
                assert file.is_file(), f"{page.name}: {target}"
                assert not anchor or anchor in anchors_of(file), f"{page.name}: {target}#{anchor}"
                linked.add(file)
    assert linked >= set(DOCS.rglob("*.md"))


def test_the_files_that_pages_for_developers_name_exist():
    files = [
        f"/{path.relative_to(PROJECT)}"
        for folder in ("extract", "dbt_project", "docker", "tests", "docs")
        for path in (PROJECT / folder).rglob("*.*")
    ] + [f"/{path.name}" for path in PROJECT.iterdir()]
    for page in (DOCS / "architecture.md", PROJECT / "CONTRIBUTING.md", *DOCS.glob("decisions/*.md")):
        for code in inline_of(page_text(page)):
            if (
                re.fullmatch(r"\w[\w./]*\.(py|sql|yml|toml|json|sh|csv)", code)
                and Path(code).stem.lower() != "name"
            ):
                assert any(file.endswith(f"/{code}") for file in files), f"{page.name}: {code}"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_command_of_a_page_can_be_typed(page: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(PROJECT)
    for words in commands_of(page_text(page)):
        assert not refusal(words), f"{' '.join(words)}: {refusal(words)}"


@pytest.mark.parametrize(
    "typed",
    [
        *("perps run --repiar", "perps backfil --start 2024-01-01", "perps run --wait long", "perps db"),
        *("perps dbt -- build --selct x", "dbt bild", "dbt run-operation upkep", "make instal"),
    ],
)
def test_a_command_that_cannot_be_typed_is_refused(typed: str):
    for page in (f"    {typed}\n", f"`{typed}`", f"```ini\nExecStart=/opt/bin/{typed}\n```\n"):
        assert commands_of(page) == [typed.split()]
    assert refusal(typed.split())


def refusal(words: list[str]) -> str:
    """Return why a command cannot be typed, or nothing."""
    program, *rest = words
    if program == "make":
        known = re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text("utf-8"), re.M)
        return "" if {word for word in rest if "=" not in word} <= set(known) else "no such target"
    if program == "perps":
        said = io.StringIO()
        try:
            with redirect_stderr(said), redirect_stdout(said):
                build_parser(rest).parse_args(rest)
        except SystemExit as ended:
            return said.getvalue() if ended.code else ""
        if "--" not in rest or rest[0] != "dbt":
            return ""
        rest = rest[rest.index("--") + 1 :]
    try:
        context = args_to_context(rest)
    except (click.ClickException, DbtUsageException) as error:
        return str(error)
    macro = context.params.get("macro")
    macros = (path.read_text("utf-8") for path in (PROJECT / "dbt_project/macros").rglob("*.sql"))
    return "" if not macro or any(f"{{% macro {macro}(" in text for text in macros) else "no such macro"
