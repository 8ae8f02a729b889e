"""`perps db`: the embedded server; each action returns an exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg2

from extract.cli.shared import without_dashes
from extract.database.database import Database, one_row
from extract.embedded.backup import back_up
from extract.embedded.backup import restore as restore_database
from extract.embedded.cluster import DATABASE, Cluster
from extract.errors import PerpsError, UsageError
from extract.settings import Settings

Action = Callable[[argparse.Namespace, Settings], int]
BY_POSTGRESQL = "use pg_dump or pg_restore there, see docs/moving.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `perps db`."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(run: Action, text: str) -> argparse.ArgumentParser:
        added = actions.add_parser(run.__name__, help=text, description=text[0].upper() + text[1:] + ".")
        added.set_defaults(run=run)
        return added

    action(start, "start the server; installs it first if necessary").add_argument(
        "--port", type=int, metavar="N", help="TCP port (default: the last one used, or any free port)"
    )
    action(stop, "stop the server, keeping its data")
    action(status, "show whether the server runs, its version and folders; exits with 1 if it does not run")
    shell = action(psql, "open psql; arguments after -- are passed to it")
    for added in (
        action(env, 'print the connection as libpq variables for a shell: eval "$(perps db env)"'),
        action(url, "print the connection as a URL, including the password"),
        shell,
    ):
        _database_flag(added)
        added.add_argument("--reader", action="store_true", help="connect as the read-only role perps_reader")
    shell.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="arguments for psql"
    )
    for added, of in (
        (action(backup, "back up a database to a file; loads can continue"), "overwritten if it exists"),
        (action(restore, "restore a backup into an empty database"), "as written by perps db backup"),
    ):
        added.add_argument("file", metavar="FILE", help=f"file in pg_dump's custom format; {of}")
        _database_flag(added)
    action(destroy, "stop the server and delete all its data").add_argument(
        "--yes", action="store_true", help="confirm that all databases of the server are to be deleted"
    )


def _database_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", metavar="NAME", help="database name (default: perps)")


def start(args: argparse.Namespace, settings: Settings) -> int:
    """Start the embedded server."""
    if settings.server and not settings.embeds:
        used = f"{settings.server.host}:{settings.server.port}"
        print(f"PGHOST is set: using the server at {used}; unset PGHOST to start the embedded server")
        return 0
    started = settings.cluster.start(args.port)
    print(f"running on {started.host}:{started.port}, database {started.dbname}; try: perps db psql")
    return 0


def stop(_args: argparse.Namespace, settings: Settings) -> int:
    """Stop the embedded server."""
    embedded(settings, "stop").stop()
    print("stopped")
    return 0


def status(_args: argparse.Namespace, settings: Settings) -> int:
    """Show server status."""
    if settings.server and not settings.embeds:
        print(describe_server(settings.server))
        return 0
    status = settings.cluster.status()
    print(f"running on 127.0.0.1:{status.port}, pid {status.pid}" if status.running else "stopped")
    if status.pg_version:
        print(f"PostgreSQL {status.pg_version}, TimescaleDB {status.timescaledb_version or 'unknown'}")
        print(describe_edition(status.edition))
    print(f"data in {status.data}, packages in {status.cache}")
    return 0 if status.running else 1


def env(args: argparse.Namespace, settings: Settings) -> int:
    """Print the libpq variables."""
    for name, value in named_database(args, settings).env().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def url(args: argparse.Namespace, settings: Settings) -> int:
    """Print the connection as a URL."""
    print(named_database(args, settings).url())
    return 0


def psql(args: argparse.Namespace, settings: Settings) -> int:
    """Replace this process with psql."""
    database = named_database(args, settings)
    program = str(settings.cluster.program("psql")) if settings.embeds else shutil.which("psql")
    if not program:
        raise PerpsError("no psql in PATH; install it, or unset PGHOST to use the embedded server's")
    sys.stdout.flush()
    os.execve(program, ["psql", *without_dashes(args.arguments)], {**os.environ, **database.env()})  # noqa: S606


def backup(args: argparse.Namespace, settings: Settings) -> int:
    """Write a database of the embedded server to a file."""
    server, name = embedded(settings, "backup", BY_POSTGRESQL), database_name(args, settings)
    server.start()
    size = back_up(server, name, Path(args.file))
    print(f"wrote {name} to {args.file}, {size / 1e6:,.1f} MB; to restore it: perps db restore {args.file}")
    return 0


def restore(args: argparse.Namespace, settings: Settings) -> int:
    """Restore a backup into an empty database of the embedded server."""
    server, name = embedded(settings, "restore", BY_POSTGRESQL), database_name(args, settings)
    server.start()
    if sys.stderr.isatty():
        print(f"restoring {args.file} into {name}", file=sys.stderr)
    restore_database(server, name, Path(args.file))
    named = "" if name == DATABASE else f'eval "$(perps db env --database {name})" && '
    print(f"restored {name} from {args.file}; next: {named}perps run")
    return 0


def database_name(args: argparse.Namespace, settings: Settings) -> str:
    """Return the name of the embedded server's database that the flags and settings select."""
    return args.database or (settings.server.dbname if settings.server else DATABASE)


def destroy(args: argparse.Namespace, settings: Settings) -> int:
    """Delete the embedded server's data."""
    server = embedded(settings, "destroy")
    if not args.yes:
        raise UsageError(f"this deletes every database in {settings.server_data}; to confirm, add --yes")
    server.destroy()
    print(f"deleted {settings.server_data}")
    return 0


def embedded(
    settings: Settings, action: str, otherwise: str = "to use the embedded server, unset PGHOST"
) -> Cluster:
    """Return the embedded server, for actions that work on no other server.

    Raises:
        PerpsError: PGHOST names another server; the message says what to do `otherwise`.
    """
    if settings.server and not settings.embeds:
        raise PerpsError(
            f"perps db {action} works on the embedded server only, and PGHOST names {settings.server.host}; "
            f"{otherwise}"
        )
    return settings.cluster


def named_database(args: argparse.Namespace, settings: Settings) -> Database:
    """Return the database for `db env`, `db url` and `db psql`; starts the embedded server if it is used."""
    if settings.server and not settings.embeds:
        if args.reader:
            raise UsageError(
                "--reader works on the embedded server only; with PGHOST, set PGUSER and PGPASSWORD instead"
            )
        return settings.server.with_database(args.database or settings.server.dbname)
    server = settings.cluster
    started = server.start()
    role = "perps_reader" if args.reader else (settings.server or started).user
    return server.database(role, database_name(args, settings))


def describe_server(server: Database) -> str:
    """Return two lines about the server that PGHOST names."""
    try:
        with server.reading() as cursor:
            version, timescaledb, edition = one_row(
                cursor,
                "select current_setting('server_version'),"
                " (select extversion from pg_extension where extname = 'timescaledb'),"
                " current_setting('timescaledb.license', true)",
            )
    except psycopg2.Error as error:
        raise PerpsError(
            f"could not connect to {server.host}: {' '.join(str(error).split())}; check the PG variables"
        ) from None
    extension = f"TimescaleDB {timescaledb}" if timescaledb else "no TimescaleDB extension"
    where = f"{server.host}:{server.port}/{server.dbname} as {server.user}"
    return f"{where}: PostgreSQL {version}, {extension}\n{describe_edition(edition)}"


def describe_edition(edition: str | None) -> str:
    """Return one line about what an edition of TimescaleDB means for the tables.

    Args:
        edition: the value of `show timescaledb.license`; None if it is not known.
    """
    known = {
        "apache": "Apache edition: no columnstore, chunks are not compressed; everything else is the same",
        "timescale": "Community edition: perps run compresses chunks older than a week",
    }
    return known.get(edition or "", "edition of TimescaleDB unknown")
