"""The privileges that this tool's role needs on any server, and the statements that grant them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection

from extract.database.database import DatabaseError, one_row

SCHEMAS = ("deribit_raw", "staging", "quality", "test_failures")
"""Schemas that dlt and dbt create. If all exist, a role needs only the right to create tables in them."""

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
    -- this setting exists only where timescaledb is preloaded
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
    """What the connected role has in its database: each flag is True if that is given.

    `hidden_in` is the extension's schema if `search_path` (as SQL) does not include it.
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
    """Return what the connected role has; the query needs no privilege."""
    with opened.cursor() as cursor:
        return Given(*one_row(cursor, _GIVEN, {"schemas": list(SCHEMAS)}))


def missing(given: Given, opened: PgConnection) -> list[str]:
    """Return all statements that an administrator must run in the database; none if nothing is missing."""
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
    """Make sure that the database has TimescaleDB and that the role may create its tables.

    Raises:
        DatabaseError: something is missing; the message has every statement that an administrator must run.
    """
    given = read_given(opened)
    instructions = describe_steps(given, missing(given, opened))
    if instructions:
        raise DatabaseError(f"{first_missing(given)}; as an administrator, {instructions}")


def first_missing(given: Given) -> str:
    """Return a sentence that names the first thing that is missing."""
    if not given.preloaded:
        return "the server does not load timescaledb"
    if not given.extension:
        return f"no timescaledb extension in database {given.database}"
    if given.hidden_in:
        return f"timescaledb is in schema {given.hidden_in}, outside the search_path of role {given.role}"
    return f"role {given.role} may not create the tables in database {given.database}"


def describe_steps(given: Given, statements: Sequence[str]) -> str:
    """Return what an administrator must do, as part of a sentence; empty if nothing is missing."""
    loading = "add timescaledb to shared_preload_libraries and restart the server"
    running = f"run in that database: {'; '.join(statements)}"
    return ", then ".join(([] if given.preloaded else [loading]) + ([running] if statements else []))
