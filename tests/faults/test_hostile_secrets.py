"""The database's password shows up in no file, output, process list or report, whatever fails."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from psycopg2 import sql

from extract.database.database import Database
from extract.embedded.cluster import Cluster
from extract.simulator import RunningSimulator
from tests.support.flow import execute
from tests.support.perps import Perps
from tests.support.truth import rows

SECRET = "m4rk3r'\"\\%s%25{{x}}@:/?#&=é$"
WRONG = "wr0ngm4rk"
CONTROL = f"{WRONG} in a process of the test"
FORMS = (SECRET, quote(SECRET, safe=""), quote_plus(SECRET), SECRET.replace("'", "\\'"), "m4rk3r", WRONG)
RANGE = ("--instruments", "BTC-PERPETUAL", "--start", "2024-01-01", "--end", "2024-01-01T02:00")


@pytest.fixture(scope="module")
def guarded(server: Cluster, module_database: Database) -> Iterator[Database]:
    """The module's database for a role with an odd name and the password that is looked for."""
    name = f"odd'role\"%s@{uuid.uuid4().hex[:6]}"
    superuser = server.database("postgres", module_database.dbname)
    role = sql.Identifier(name)
    execute(
        superuser, sql.SQL("create role {} login in role perps password {}").format(role, sql.Literal(SECRET))
    )
    yield replace(module_database, user=name, password=SECRET)
    execute(superuser, sql.SQL("drop owned by {} cascade").format(role))
    execute(superuser, sql.SQL("drop role {}").format(role))


def test_a_password_with_a_space_is_refused_without_showing_it(
    guarded: Database, server: Cluster, exchange: RunningSimulator, perps: Perps
) -> None:
    superuser = server.database("postgres", guarded.dbname)
    alter = sql.SQL("alter role {} password {}")
    role = sql.Identifier(guarded.user)
    execute(superuser, alter.format(role, sql.Literal("m4rk3r 2")))
    try:
        spaced = replace(guarded, password="m4rk3r 2")
        refused = perps("backfill", *RANGE, database=spaced, api=exchange.base_url)
    finally:
        execute(superuser, alter.format(role, sql.Literal(SECRET)))
    assert refused.returncode == 1
    assert "error: expected a database user and password without spaces" in refused.stderr
    assert "m4rk3r" not in refused.stderr + refused.stdout


class Watch:
    """Reads the command line of every process, again and again, and keeps what shows a secret."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    told = (process / "cmdline").read_text(errors="replace")
                    if any(form in told for form in FORMS):
                        self.seen.add(told)


def leaks(folder: Path) -> list[str]:
    """Return the files below a folder that hold the secret in any form."""
    forms = [form.encode() for form in FORMS]
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    ]


def test_no_password_is_shown_or_kept_by_what_works_and_what_fails(
    guarded: Database, exchange: RunningSimulator, perps: Perps, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    env = {
        "PERPS_HOME": str(home),
        "DBT_TARGET_PATH": str(tmp_path / "target"),
        "DBT_LOG_PATH": str(tmp_path / "dbt-logs"),
        "DBT_WRITE_JSON": "true",
    }
    at = {"api": exchange.base_url, "env": env}
    good, wrong = {"database": guarded, **at}, {"database": replace(guarded, password=WRONG), **at}
    said = {}
    with Watch() as watch:
        subprocess.run(
            ["sh", "-c", f"sleep 1  # {CONTROL}"], check=False
        )  # so that the watch is known to see
        said["backfill"] = perps("backfill", *RANGE, **good, alone=True)
        said["debug"] = perps("dbt", "--", "--debug", "run", "--select", "+perpetuals_ohlcv", **good)
        said["dbt, wrong password"] = perps("dbt", "--", "--debug", "run", **wrong)
        said["wrong password"] = perps("backfill", *RANGE, **wrong)
        execute(guarded, "alter table deribit_raw.fetches add constraint never check (false) not valid")
        said["failing copy"] = perps("backfill", *RANGE, **good)
    codes = {name: ended.returncode for name, ended in said.items()}
    expected = dict.fromkeys(said, 1) | {"backfill": 0, "debug": 0}
    assert codes == expected, {name: said[name].stderr for name in said if codes[name] != expected[name]}
    assert rows(guarded, "select count(*) > 0 from perpetuals_ohlcv") == [(True,)]
    assert "violates check constraint" in said["failing copy"].stderr
    assert "password authentication failed" in said["wrong password"].stderr

    printed = {name: ended.stdout + ended.stderr for name, ended in said.items()}
    assert [name for name, text in printed.items() if any(form in text for form in FORMS)] == []
    assert {path.name for path in tmp_path.iterdir()} >= {"home", "target", "dbt-logs"}
    assert list((home / "pipelines").rglob("*.parquet")), "the failed load left nothing to look into"
    assert leaks(tmp_path) == []
    assert watch.seen == {f"sh\x00-c\x00sleep 1  # {CONTROL}\x00"}
