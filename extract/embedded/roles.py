"""The roles and databases inside the embedded server, created by its superuser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import cursor as PgCursor
from psycopg2.extensions import encrypt_password

from extract.database.database import Database, one_row
from extract.embedded.errors import EmbedError

SUPERUSER = "postgres"
OWNER = "perps"
READER = "perps_reader"
ROLES = (SUPERUSER, OWNER, READER)

_ROLE = """
create role {name} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password {verifier};
"""

_READ_ONLY = """
alter role {name} set default_transaction_read_only = on;
revoke all on database postgres from public;
revoke all on database template1 from public;
"""

# One statement string, hence one transaction: where the extension is, all of it is. The extension's only job
# fails on every run under the Apache licence, and cannot be altered through its functions.
_PREPARE = """
create extension timescaledb;
update _timescaledb_config.bgw_job set scheduled = false
    where current_setting('timescaledb.license') = 'apache';
revoke all on database {database} from public;
grant connect on database {database} to {reader};
grant usage on schema public to {reader};
alter default privileges for role {owner} grant usage on schemas to {reader};
alter default privileges for role {owner} grant select on tables to {reader};
"""

# PostgreSQL gives both to everyone: advisory locks, with which a reader could keep loads and builds waiting
# for ever, and large objects, with which it could fill the disk.
_CLOSE = """
do $$
declare
    closed regprocedure;
begin
    for closed in
        select oid from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace
            and (
                proname ~ '^pg_(try_)?advisory_(xact_)?lock'
                or proname in ('lo_create', 'lo_creat', 'lo_from_bytea')
            )
    loop
        execute format('revoke execute on function %s from public', closed);
        execute format('grant execute on function %s to {owner}', closed);
    end loop;
end
$$;
"""


def ensure_roles(superuser: Database, passwords: dict[str, str]) -> None:
    """Create the application role and the reader if they are missing; existing ones are left alone.

    Passwords are sent as SCRAM verifiers, so that no server log can hold one.
    """
    with _session(superuser) as cursor:
        cursor.execute("select rolname from pg_roles where rolname = any(%s)", ([OWNER, READER],))
        present = {name for (name,) in cursor.fetchall()}
        for role, script in ((OWNER, _ROLE), (READER, _ROLE + _READ_ONLY)):
            if role not in present:
                scope, method = cursor.connection, "scram-sha-256"
                verifier = encrypt_password(passwords[role], role, scope=scope, algorithm=method)
                named = {"name": sql.Identifier(role), "verifier": sql.Literal(verifier)}
                cursor.execute(sql.SQL(script).format(**named))


def ensure_database(superuser: Database, name: str) -> None:
    """Create the database `name`, owned by the application role, with TimescaleDB, readable by the reader."""
    database, owner, reader = (sql.Identifier(word) for word in (name, OWNER, READER))
    with _session(superuser) as cursor:
        cursor.execute("select 1 from pg_database where datname = %s", (name,))
        if not cursor.fetchone():
            # template0: TimescaleDB's launcher visits template1, and a visited template cannot be copied
            statement = sql.SQL("create database {} owner {} template template0")
            cursor.execute(statement.format(database, owner))
    with _session(superuser.with_database(name)) as cursor:
        cursor.execute("select 1 from pg_extension where extname = 'timescaledb'")
        if not cursor.fetchone():
            cursor.execute(sql.SQL(_PREPARE).format(database=database, owner=owner, reader=reader))
        cursor.execute("select has_function_privilege(%s, 'pg_advisory_lock(bigint)', 'execute')", (READER,))
        if cursor.fetchone() == (True,):
            cursor.execute(sql.SQL(_CLOSE).format(owner=owner))


def remove_database(superuser: Database, name: str) -> None:
    """Drop the database `name` if it exists, ending its sessions.

    Raises:
        EmbedError: it is one of the server's own databases.
    """
    if name in ("postgres", "template0", "template1"):
        raise EmbedError(f"expected a database of this tool, got {name}; the server itself needs that one")
    with _session(superuser) as cursor:
        cursor.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def update_extension(superuser: Database) -> None:
    """Bring TimescaleDB in every database to the version of the installed packages.

    It must be the session's first statement: the old version's library is gone with the old packages.
    """
    with _session(superuser) as cursor:
        cursor.execute("select datname from pg_database where datallowconn and not datistemplate")
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        with _session(superuser.with_database(name)) as cursor, contextlib.suppress(errors.UndefinedObject):
            cursor.execute("alter extension timescaledb update")


def server_facts(superuser: Database) -> tuple[str, str, str]:
    """Return what the running server says: PostgreSQL's version, TimescaleDB's version and its edition."""
    with _session(superuser) as cursor:
        version, extension, edition = one_row(
            cursor,
            "select split_part(current_setting('server_version'), ' ', 1), "
            "(select extversion from pg_extension where extname = 'timescaledb'), "
            "current_setting('timescaledb.license')",
        )
    return version, extension, edition


@contextlib.contextmanager
def _session(connection: Database) -> Iterator[PgCursor]:
    """Open a connection whose every statement commits, yield a cursor, and close it again."""
    opened = connection.connect()
    try:
        with opened.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        reason = " ".join(str(error).split())
        raise EmbedError(
            f"expected the embedded server to prepare {connection.dbname}, got: {reason}; try again"
        ) from None
    finally:
        opened.close()
