"""A server that somebody else runs: an ordinary role, told all that it lacks at once, and TLS everywhere."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import adbc_driver_postgresql.dbapi as adbc
import pytest

from extract.database.database import PATIENCE, Database, DatabaseError
from extract.database.privileges import Given, check_server, describe_steps, first_missing
from extract.embedded.cluster import Cluster
from extract.settings import PROJECT, read_settings
from extract.transform.failures import NodesFailedError
from extract.transform.runner import open_dbt
from tests.support.exchange import BTC, simulated
from tests.support.perps import Perps, error_line, expect
from tests.support.truth import execute, rows

PASSWORD = "of-alice"
ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


@pytest.fixture
def bare(server: Cluster) -> Iterator[tuple[Database, Database]]:
    """A database without anything, as its administrator and as a role without any right of its own."""
    administrator = server.database("postgres", "postgres")
    execute(
        administrator,
        "create database bare template template0",
        "revoke temporary on database bare from public",
        f"create role alice login password '{PASSWORD}'",
    )
    there = administrator.with_database("bare")
    yield there, replace(there, user="alice", password=PASSWORD)
    execute(administrator, "drop database bare with (force)", "drop role alice")


def check(database: Database) -> None:
    with database.reading() as cursor:
        check_server(cursor.connection)


def lacks(database: Database) -> str:
    with pytest.raises(DatabaseError) as failed:
        check(database)
    return str(failed.value)


def test_an_administrator_is_asked_once_for_all_that_is_missing(bare: tuple[Database, Database]) -> None:
    administrator, alice = bare
    said = lacks(alice)
    assert "\n" not in said
    assert said.partition("as an administrator, run in that database: ")[2] == (
        'create extension timescaledb; grant create on database "bare" to "alice"; '
        'grant temporary on database "bare" to "alice"; grant usage, create on schema public to "alice"'
    )
    execute(administrator, said.partition("run in that database: ")[2])
    check(alice)
    execute(alice, "create schema quality; create table perpetuals_ohlcv (); create temporary table t ()")


def test_a_role_whose_schemas_an_administrator_made_needs_no_right_to_make_them(
    bare: tuple[Database, Database],
) -> None:
    administrator, alice = bare
    for schema in ("deribit_raw", "staging", "quality", "test_failures"):
        execute(administrator, f"create schema {schema} authorization alice")
    assert "grant create on database" not in lacks(alice)


def test_a_database_prepared_by_the_file_that_docker_runs_lacks_nothing(
    server: Cluster, bare: tuple[Database, Database]
) -> None:
    administrator, _ = bare
    owner = replace(server.database(), dbname=administrator.dbname)
    assert "grant create on database" in lacks(owner)
    file = PROJECT / "extract" / "embedded" / "roles.sql"
    subprocess.run(
        [server.program("psql"), "--no-psqlrc", "--file", file],
        env={**os.environ, **administrator.env()},
        check=True,
        capture_output=True,
    )
    check(owner)


def test_an_extension_in_another_schema_is_found_after_what_is_told(
    perps: Perps, bare: tuple[Database, Database]
) -> None:
    administrator, alice = bare
    execute(administrator, 'create schema "Ext"; create extension timescaledb schema "Ext"')
    execute(administrator, "grant all on database bare to alice; grant all on schema public to alice")
    backfill = ("backfill", "--instruments", BTC, "--start", "2024-01-01", "--end", "2024-01-02")
    with simulated(clock="2024-01-02T00:00:30Z") as exchange:
        said = error_line(perps(*backfill, database=alice, api=exchange.base_url))
        told = said.partition("run in that database: ")[2]
        assert told == (
            'grant usage on schema "Ext" to "alice"; '
            'alter role "alice" in database "bare" set search_path = "$user", public, "Ext"'
        )
        assert rows(administrator, "select to_regnamespace('deribit_raw')") == [(None,)]
        execute(administrator, told)
        expect(perps(*backfill, database=alice, api=exchange.base_url))
    build = ("dbt", "--", "--quiet", "build", "--exclude-resource-type", "unit_test")
    expect(perps(*build, database=alice))
    assert rows(administrator, "select count(*) from perpetuals_ohlcv") == [(1440,)]
    execute(administrator, "alter role alice in database bare reset search_path")
    built = perps(*build, database=alice)
    assert built.returncode == 1
    assert 'set search_path to "$user", public, "Ext"' in " ".join(built.stdout.split())


def test_what_is_missing_first_is_named() -> None:
    def named(extension: bool, preloaded: bool) -> str:
        given = Given("market", "alice", extension, None, "public", preloaded, True, False, True)
        return first_missing(given)

    assert [named(True, False), named(False, True), named(True, True)] == [
        *("the server does not load timescaledb", "no timescaledb extension in database market"),
        "role alice may not create the tables in database market",
    ]


def test_a_server_without_the_library_is_told_to_load_it_first() -> None:
    given = Given("market", "alice", False, None, "public", False, True, True, True)
    said = describe_steps(given, ["create extension timescaledb"])
    assert said.index("shared_preload_libraries") < said.index("create extension timescaledb")


# --- TLS


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """A certificate of the server by `ca`, and another authority, `wrong`."""
    folder = Path(tempfile.mkdtemp(prefix="perps-test-"))

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes", "-keyout")
    for authority in ("ca", "wrong"):
        openssl(
            "req", "-x509", *new, f"{authority}.key", "-out", f"{authority}.crt", "-subj", f"/CN={authority}"
        )
    openssl("req", *new, "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *by, "-out", "server.crt")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def encrypting(certificates: Path, cache: Path) -> Iterator[tuple[Cluster, Database]]:
    """A server that takes the role perps over TLS alone, and that role."""
    folder = Path(tempfile.mkdtemp(prefix="perps-test-"))
    folder.chmod(0o755)
    cluster = Cluster(folder / "data", cache)
    try:
        perps = cluster.start()
        pgdata = cluster.data / "pgdata"
        for name in ("server.crt", "server.key"):
            shutil.copy(certificates / name, pgdata)
            (pgdata / name).chmod(0o600)
            shutil.chown(pgdata / name, pgdata.stat().st_uid, pgdata.stat().st_gid)
        access = "hostssl all perps all scram-sha-256\nhost all postgres all scram-sha-256\n"
        (pgdata / "pg_hba.conf").write_text(access)
        execute(cluster.database("postgres", "postgres"), "alter system set ssl = on")
        cluster.stop()
        cluster.start()
        yield cluster, perps
    finally:
        cluster.destroy()
        shutil.rmtree(folder)


def by_psycopg2(perps: Database, _: Path) -> bool:
    with perps.reading() as cursor:
        cursor.execute(ENCRYPTED)
        return bool(cursor.fetchone()[0])


def by_dlt(perps: Database, _: Path) -> bool:
    with adbc.connect(perps.url(PATIENCE)) as opened, opened.cursor() as cursor:
        cursor.execute(ENCRYPTED)
        return bool(cursor.fetchone()[0])


def by_psql(perps: Database, psql: Path) -> bool:
    told = [psql, "-XAtc", ENCRYPTED]
    done = subprocess.run(told, env={**os.environ, **perps.env()}, capture_output=True, text=True)  # noqa: PLW1510
    return done.stdout == "t\n"


def by_dbt(perps: Database, _: Path) -> bool:
    # the server takes nobody without TLS
    with redirect_stdout(io.StringIO()), open_dbt(perps, read_settings().dbt) as dbt:
        try:
            dbt.run(["debug", "--connection"])
        except NodesFailedError:
            return False
        return True


@pytest.mark.long
@pytest.mark.parametrize("way", [by_psycopg2, by_dlt, by_psql, by_dbt])
def test_every_connection_checks_the_server_by_the_authority_that_libpq_is_told(
    way, certificates: Path, encrypting: tuple[Cluster, Database]
) -> None:
    cluster, perps = encrypting
    psql = cluster.program("psql")
    with told_of(certificates / "ca.crt"):
        assert way(perps, psql)
    with told_of(certificates / "wrong.crt"):
        assert not connects(way, perps, psql)


def told_of(authority: Path):
    return patch.dict(os.environ, {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(authority)})


def connects(way, perps: Database, psql: Path) -> bool:
    """Return whether a connection came about where it must not."""
    try:
        return way(perps, psql)
    except (DatabaseError, adbc.OperationalError) as error:
        assert "certificate verify failed" in str(error)
        return False
