"""A server that docker/'s SQL has prepared, and how people and Grafana ask it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from extract.database.database import Database
from extract.embedded.cluster import Cluster
from tests.support.perps import Result, run_program
from tests.support.truth import execute, rows
from tests.unit.docker.test_docker_files import DOCKER, SERVICES

OWNER_PASSWORD, READER_PASSWORD = "o'wn\\er$x", "re:ad/er"  # what SQL, a shell or a URL would take apart

MOUNTED = dict(mount.split(":")[1::-1] for mount in SERVICES["timescaledb"]["volumes"])
FIRST_START = [DOCKER / MOUNTED[path] for path in sorted(MOUNTED) if "initdb" in path]
"""What the container's entry point runs, in its order."""
ROLES = FIRST_START[0]

PRIVILEGES = """
select 'role', rolname, concat_ws(
    ' ', rolsuper, rolcanlogin, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
    left(rolpassword, 13), (select setconfig::text from pg_db_role_setting where setrole = pg_authid.oid)
)
from pg_authid where rolname like 'perps%'
union all
select 'database', datname, pg_get_userbyid(datdba) || ' ' || datacl::text
from pg_database where datname in ('postgres', 'template1', current_database())
union all
select 'schema', nspname, pg_get_userbyid(nspowner) || ' ' || nspacl::text
from pg_namespace where nspname = 'public'
union all
select 'default', defaclobjtype::text, pg_get_userbyid(defaclrole) || ' ' || defaclacl::text
from pg_default_acl
union all
select 'function', oid::regprocedure::text, proacl::text
from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname ~ '^(pg_.*advisory|lo_)'
order by 1, 2
"""


@dataclass(frozen=True)
class Stack:
    """A server as the compose file's, with a history that the schedule has loaded and built.

    `embedded` and `prepared` are what perps itself and what the container's first start gave to whom;
    `refused` is how roles.sql ended without a password, `left_by_refused` the roles and extensions that there
    were then.
    """

    owner: Database
    reader: Database
    superuser: Database
    psql: str
    embedded: list[tuple[Any, ...]]
    prepared: list[tuple[Any, ...]]
    refused: Result
    left_by_refused: list[tuple[Any, ...]]


def prepared(cluster: Cluster) -> Stack:
    """Return a running server, started anew, as the container's first start leaves its own."""
    superuser = cluster.database("postgres", "perps")
    embedded = rows(superuser, PRIVILEGES)
    start_anew(superuser.with_database("postgres"))
    psql = str(cluster.program("psql"))
    refused = administer(psql, superuser, ROLES, PERPS_PASSWORD="")
    left = rows(
        superuser,
        "select rolname from pg_roles where rolname like 'perps%'"
        " union select extname from pg_extension order by 1",
    )
    for script in (ROLES, *FIRST_START):
        assert administer(psql, superuser, script, PERPS_PASSWORD=OWNER_PASSWORD).returncode == 0
    return Stack(
        replace(superuser, user="perps", password=OWNER_PASSWORD),
        replace(superuser, user="perps_reader", password=READER_PASSWORD),
        superuser,
        psql,
        embedded,
        rows(superuser, PRIVILEGES),
        refused,
        left,
    )


def start_anew(superuser: Database) -> None:
    """Leave the server as initdb made it, with an empty database `perps` of the superuser's."""
    execute(
        superuser,
        *("drop database perps", "drop role perps", "drop role perps_reader"),
        "grant connect, temporary on database postgres to public",
        "grant connect on database template1 to public",
        "create database perps template template0",
    )


def administer(psql: str, superuser: Database, script: Path, **passwords: str) -> Result:
    """Run a script as the container's entry point does."""
    given = {"PERPS_READER_PASSWORD": READER_PASSWORD, **passwords}
    command = [psql, "--no-psqlrc", "--no-password", "--set=ON_ERROR_STOP=1"]
    return run_program([*command, f"--file={script}"], {**os.environ, **superuser.env(), **given})


def asked(database: Database, sql: str) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """Return the columns with their types, and the rows."""
    with database.reading() as cursor:
        cursor.execute("set timezone to 'Asia/Hong_Kong'")  # people's clients are anywhere
        cursor.execute(sql)
        found, described = cursor.fetchall(), cursor.description or ()
        cursor.execute("select oid, oid::regtype::text from pg_type")
        types = dict(cursor.fetchall())
        return {column.name: types[column.type_code] for column in described}, found
