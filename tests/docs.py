"""The blocks of `--help` and of queries in docs/: what they must say; as a program: pages that say it."""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

from extract.cli.parser import build_parser

PROJECT = Path(__file__).resolve().parent.parent
DOCS = PROJECT / "docs"
PAGES = (DOCS / "commands.md", DOCS / "sql.md")
QUERIES = PROJECT / "dbt_project" / "queries"
SHOWN = re.compile(
    r"(<!-- the queries of dbt_project/queries: make docs -->\n).*(<!-- end of the queries -->)", re.S
)
MARK = re.compile(r"(<!-- tests/unit/test_docs.py keeps .*? -->\n).*\Z", re.S)
COMMANDS = (
    *("", "demo", "backfill", "update", "run", "repair", "verify", "reconcile", "audit", "doctor"),
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


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")
