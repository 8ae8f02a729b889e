"""What a server that somebody else runs must give the role of this tool, and the statements that give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection

from extract.database.database import DatabaseError, one_row

SCHEMAS = ("deribit_raw", "staging", "quality", "test_failures")
"""Made by dlt and dbt: whoever has them all with the right to create in them need not create schemas."""

_GIVEN = """
select
    current_database(),
    current_user,
    exists (select from pg_extension where extname = 'timescaledb'),
    (
        select nspname
        from pg_extension
        join pg_namespace on pg_namespace.oid = extnamespace
        where extname = 'timescaledb' and not exists (
            select from pg_proc
            where proname = 'create_hypertable'
                and pronamespace = extnamespace
                and pg_function_is_visible(oid)
        )
    ),
    current_setting('search_path'),
    -- the preloaded part of timescaledb alone knows it
    coalesce(current_setting('timescaledb.max_background_workers', true), '') <> '',
    has_database_privilege(current_database(), 'temporary'),
    has_database_privilege(current_database(), 'create') or (
        select count(*) = cardinality(%(schemas)s)
        from pg_namespace
        where nspname = any(%(schemas)s)
            and has_schema_privilege(oid, 'usage')
            and has_schema_privilege(oid, 'create')
    ),
    to_regnamespace('public') is not null
        and has_schema_privilege('public', 'usage')
        and has_schema_privilege('public', 'create')
"""


@dataclass(frozen=True)
class Given:
    """What the role has in the database that it is connected to.

    `hidden_in` is the extension's schema where `search_path`, as SQL, does not lead to its functions.
    """

    database: str
    role: str
    extension: bool
    hidden_in: str | None
    search_path: str
    preloaded: bool
    temporary: bool
    schemas: bool
    public: bool


def read_given(opened: PgConnection) -> Given:
    """Return what the connected role has. It may be any role: nothing that is asked needs a right."""
    with opened.cursor() as cursor:
        return Given(*one_row(cursor, _GIVEN, {"schemas": list(SCHEMAS)}))


def missing(given: Given, opened: PgConnection) -> list[str]:
    """Return the statements that an administrator must run in the database, all of them; none when ready."""
    named = {
        "database": sql.Identifier(given.database),
        "role": sql.Identifier(given.role),
        "schema": sql.Identifier(given.hidden_in or ""),
        "path": sql.SQL(given.search_path),
    }
    wanted = (
        (given.extension, "create extension timescaledb"),
        (not given.hidden_in, "grant usage on schema {schema} to {role}"),
        (
            not given.hidden_in,
            "alter role {role} in database {database} set search_path = {path}, {schema}",
        ),
        (given.schemas, "grant create on database {database} to {role}"),
        (given.temporary, "grant temporary on database {database} to {role}"),
        (given.public, "grant usage, create on schema public to {role}"),
    )
    return [sql.SQL(text).format(**named).as_string(opened) for has, text in wanted if not has]


def check_server(opened: PgConnection) -> None:
    """Make sure that the database has TimescaleDB and that the role may make its tables.

    Raises:
        DatabaseError: not so; the message has every statement that an administrator must run.
    """
    given = read_given(opened)
    told = steps(given, missing(given, opened))
    if told:
        raise DatabaseError(f"expected {lack(given)}; an administrator must {told}")


def lack(given: Given) -> str:
    """Return what was expected and what is there instead, of the first thing that is missing."""
    if not given.preloaded:
        return "a server that loads timescaledb, got one that does not"
    if not given.extension:
        return f"the timescaledb extension in database {given.database}, got a database without it"
    if given.hidden_in:
        return f"timescaledb in the search_path of {given.role}, got it in schema {given.hidden_in}"
    return f"a role that may make tables in database {given.database}, got {given.role}, which may not"


def steps(given: Given, statements: Sequence[str]) -> str:
    """Return what an administrator must do, as part of a sentence; nothing when there is nothing to do."""
    loading = "add timescaledb to shared_preload_libraries and restart the server"
    running = f"run there: {'; '.join(statements)}"
    return ", then ".join(([] if given.preloaded else [loading]) + ([running] if statements else []))
