"""What the pages show: their blocks of `--help` and of queries, and the commands, links and SQL in them.

As a program: write the blocks of `--help` and of queries into the pages.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

from extract.cli.parser import build_parser

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
PAGES = (DOCS / "commands.md", DOCS / "sql.md")
WRITTEN = (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
"""The pages that people write."""
QUERIES = PROJECT / "dbt_project" / "queries"
SHOWN = re.compile(
    r"(<!-- the queries of dbt_project/queries: make docs -->\n).*(<!-- end of the queries -->)", re.S
)
MARK = re.compile(r"(<!-- tests/unit/test_docs.py keeps .*? -->\n).*\Z", re.S)
COMMANDS = (
    *("", "demo", "backfill", "update", "run", "repair", "verify", "reconcile", "audit", "doctor", "health"),
    *("report", "export", "instruments", "dbt", "simulate"),
    *(f"db {action}".strip() for action in ("", "start", "stop", "status", "env", "url", "psql")),
    *("db backup", "db restore", "db destroy"),
)


def help_of(command: str) -> str:
    """Return what `perps COMMAND --help` prints on a terminal of 100 columns."""
    printed = io.StringIO()
    with (
        patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}),
        redirect_stdout(printed),
        suppress(SystemExit),
    ):
        build_parser().parse_args([*command.split(), "--help"])
    return printed.getvalue()


def blocks() -> str:
    """Return the whole section."""
    shown = (
        f"```console\n$ {' '.join(('perps ' + command).split())} --help\n{help_of(command)}```\n"
        for command in COMMANDS
    )
    return "\n".join(shown)


def query_blocks() -> str:
    """Return the queries that people write, each under the first sentence of its comment."""
    shown = []
    for path in sorted(QUERIES.glob("*.sql")):
        lines = path.read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.removeprefix("-- ") for line in lines if line.startswith("-- "))
        sql = "\n".join(line for line in lines if not line.startswith("-- "))
        title, _, rest = comment.partition(". ")
        about = f"{rest}\n\n" if rest else ""
        summary = f"<summary>{title.rstrip('.')} (<code>{path.name}</code>)</summary>"
        shown.append(f"<details>{summary}\n\n{about}```sql\n{sql}\n```\n\n</details>\n")
    return "\n".join(shown)


def rendered(page: str) -> str:
    """Return a page whose queries, or blocks of help, are true."""
    with_queries = SHOWN.sub(lambda found: f"{found[1]}\n{query_blocks()}\n{found[2]}", page)
    return MARK.sub(lambda found: f"{found[1]}\n{blocks()}", with_queries)


FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"(?:^    .*\n)+", re.M)
INLINE = re.compile(r"`([^`]+)`")
BEFORE = r"\$ |[A-Z_]+=\S* |\.venv/bin/|Exec\w+=\S*/|[\d* ]+ flock (?:--nonblock )?\S+ "
"""What may stand before a command: a prompt, variables, a folder; a key of systemd, or the times of cron."""
TYPED = re.compile(rf"^(?:{BEFORE})*((?:perps|dbt|make) .*)", re.S)
WITHIN = re.compile(r"\$\((perps [^)]*)\)|\[(perps, [^\]]*)\]")
"""Commands in a line of the shell, and in a manifest of Kubernetes."""
HEADING = re.compile(r"^#+ (.*)$", re.M)


def page_text(page: Path) -> str:
    """Return what people wrote of a page: without the blocks that `make docs` writes."""
    return MARK.sub("", SHOWN.sub("", page.read_text(encoding="utf-8")))


def blocks_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language (nothing for indented blocks) and the text of every block of code."""
    for found in FENCED.finditer(text):
        yield found[1], found[2]
    for found in INDENTED.finditer(FENCED.sub("", text)):
        yield "", re.sub(r"^    ", "", found[0], flags=re.M)


def inline_of(text: str) -> list[str]:
    """Return the code within sentences, each on one line."""
    return [" ".join(code.split()) for code in INLINE.findall(INDENTED.sub("", FENCED.sub("", text)))]


def commands_of(text: str) -> list[list[str]]:
    """Return the words of every `perps`, `dbt` and `make` command in a page's code."""
    commands = []
    shown = [line for language, block in blocks_of(text) if language != "python" for line in _joined(block)]
    for line in [*shown, *inline_of(text)]:
        typed = TYPED.match(line)
        found = [typed[1]] if typed else [one or two.replace(",", "") for one, two in WITHIN.findall(line)]
        commands += [shlex.split(command, comments=True) for command in found]
    return commands


def _joined(block: str) -> Iterator[str]:
    """Yield the lines of a block, those that a backslash or an open quote continues as one."""
    whole = ""
    for line in block.splitlines():
        whole = f"{whole}{line}\n"
        if TYPED.match(whole):
            try:
                shlex.split(whole, comments=True)
            except ValueError:
                continue
        yield whole.rstrip("\n")
        whole = ""
    if whole:
        yield whole


def statements_of(text: str) -> list[str]:
    """Return the SQL of a page: blocks, inline queries, and what is given to psql on a command line."""
    given = [
        words[at + 1] for words in commands_of(text) for at, word in enumerate(words[:-1]) if word == "-c"
    ]
    shown = [block for language, block in blocks_of(text) if language == "sql" and "{{" not in block]
    return [*given, *shown, *(code for code in inline_of(text) if code.startswith("select "))]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text)}


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")
