"""Checks of the database: connection, extension, privileges, pooler, loads, disk, newest candle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from psycopg2.extensions import connection as PgConnection

from extract.core.resolution import parse_resolution
from extract.core.times import format_time
from extract.database.database import Database, DatabaseError, one_row
from extract.database.locks import BUILD_LOCK, HOLDER, LOCK, expect_own_session
from extract.database.privileges import Given, describe_steps, first_missing, missing, read_given
from extract.database.raw_tables import check_clock, exists
from extract.doctor.api import APART_S, Api
from extract.doctor.lines import LOOK, OK, WRONG, Line, LookError
from extract.doctor.machine import free_disk
from extract.errors import PerpsError
from extract.load.selection import check_origin
from extract.settings import Settings
from extract.transform.models import ORIGIN, RESOLUTION
from extract.transform.runner import expecting_models

OLD_S = 3600
"""Seconds; the default of dbt's `tail_threshold_minutes`."""

FIRST = "load some with: perps run --instruments BTC-PERPETUAL"

EDITION = """
select
    split_part(current_setting('server_version'), ' ', 1),
    (select extversion from pg_extension where extname = 'timescaledb'),
    current_setting('timescaledb.license', true)
"""
UNFINISHED = "select count(*) from deribit_raw._dlt_loads where status <> 0"
SIZE = "select pg_database_size(current_database())"
NEWEST = 'select (extract(epoch from max("timestamp")) * 1000)::bigint from public.perpetuals_ohlcv'


@dataclass
class DatabaseChecks:
    """The checks, and the connection that they share.

    Attributes:
        settings: has the server.
        api: the finished checks of the API.
        database, opened: set by the first check.
    """

    settings: Settings
    api: Api
    database: Database = field(init=False)
    opened: PgConnection = field(init=False)

    @property
    def checks(self) -> Mapping[str, Callable[[], Line]]:
        """The checks by subject, in order; all depend on the first."""
        return {
            "database": self.reach,
            "extension": self.extension,
            "rights": self.rights,
            "pooler": self.pooler,
            "loads": self.loads,
            "disk of tables": self.disk,
            "newest candle": self.newest,
        }

    def reach(self) -> Line:
        """Connect; does not start an embedded server.

        Raises:
            LookError: the embedded server does not run.
            DatabaseError: the server does not respond, or refuses this role or database.
        """
        where = "the embedded server" if self.settings.embeds else "PGHOST"
        to = self.settings.server
        if to is None or self.settings.embeds:
            embedded = self._embedded()
            to = to or embedded
        self.database = to
        self.opened = to.connect()
        return Line(OK, "database", f"{to.host}:{to.port}/{to.dbname} as {to.user}, {where}")

    def _embedded(self) -> Database:
        server = self.settings.cluster
        status = server.status()
        if not status.running:
            state = "does not run" if status.pg_version else "is not installed"
            raise LookError(
                f"the embedded server {state}, and PGHOST names no other; start it with: perps db start"
            )
        return server.database()

    def extension(self) -> Line:
        """Report the server and its edition; without the extension, what an administrator must do."""
        given = read_given(self.opened)
        if not _has_extension(given):
            instructions = describe_steps(given, missing(given, self.opened))
            return Line(WRONG, "extension", first_missing(given), f"as an administrator, {instructions}")
        with self.opened.cursor() as cursor:
            server, extension, edition = one_row(cursor, EDITION)
        return Line(OK, "extension", f"PostgreSQL {server}, TimescaleDB {extension}, edition {edition}")

    def rights(self) -> Line:
        """Report whether the role may create what a load and a build create."""
        given = read_given(self.opened)
        if not _has_extension(given):
            return Line(LOOK, "rights", "not checked: no extension")
        if instructions := describe_steps(given, missing(given, self.opened)):
            return Line(WRONG, "rights", first_missing(given), f"as an administrator, {instructions}")
        return Line(OK, "rights", f"{given.role} may create the schemas and tables")

    def pooler(self) -> Line:
        """Report whether a pooler shares the session. No other check may run at the same time."""
        try:
            expect_own_session(self.database, self.opened)
        except DatabaseError as error:
            return Line(WRONG, "pooler", str(error))
        return Line(OK, "pooler", "none that shares a session between clients")

    def loads(self) -> Line:
        """Report a running load or build, unfinished loads, and whether this clock allows another load."""
        with self.opened.cursor() as cursor:
            for kind, lock in (("load", LOCK), ("build", BUILD_LOCK)):
                cursor.execute(HOLDER, lock)
                if holder := cursor.fetchone():
                    do = "wait for it with --wait SECONDS; if it hangs, end that session"
                    return Line(LOOK, "loads", f"a {kind} has the lock{holder[1]}", do)
            try:
                check_clock(self.opened, time.time())
            except PerpsError as error:
                return Line(WRONG, "loads", str(error))
            if exists(cursor, "_dlt_loads") and (unfinished := one_row(cursor, UNFINISHED)[0]):
                do = "the next load deletes its rows and fetches them again; run: perps run"
                return Line(LOOK, "loads", f"the lock is free, {unfinished} load unfinished", do)
        return Line(OK, "loads", "the lock is free, no load is unfinished")

    def disk(self) -> Line:
        """Report the size of the database, and on the embedded server the free disk space."""
        with self.opened.cursor() as cursor:
            size = f"{one_row(cursor, SIZE)[0] / 1e9:,.2f} GB in database {self.database.dbname}"
        if self.settings.server:
            return Line(
                OK, "disk of tables", f"{size}; the free space on that server is not visible from here"
            )
        return free_disk("disk of tables", self.settings.server_data, f", {size}")

    def newest(self) -> Line:
        """Report the age of the newest candle, by the API's clock if it is known."""
        try:
            with expecting_models(), self.opened.cursor() as cursor:
                (origin,) = one_row(cursor, ORIGIN)
                resolution = parse_resolution(one_row(cursor, RESOLUTION)[0] or "1")
                (newest_ms,) = one_row(cursor, NEWEST)
        except PerpsError:
            return Line(LOOK, "newest candle", "no tables of candles yet", FIRST)
        if newest_ms is None:
            return Line(LOOK, "newest candle", "no candle in perpetuals_ohlcv", FIRST)
        if self.api.origin:
            try:
                check_origin(origin, self.api.origin)
            except PerpsError as error:
                return Line(WRONG, "newest candle", str(error))
        age_s = time.time() + self.api.ahead_s - (newest_ms + resolution.step_ms) / 1000
        if age_s < -APART_S:
            ahead = f"{format_time(newest_ms)}, {timedelta(seconds=round(-age_s))} ahead of the clock"
            return Line(
                LOOK, "newest candle", ahead, "check which clock is wrong, this machine's or the api's"
            )
        found = f"{format_time(newest_ms)}, closed {timedelta(seconds=round(age_s))} ago"
        if age_s <= OLD_S + resolution.step_ms / 1000:
            return Line(OK, "newest candle", found)
        return Line(LOOK, "newest candle", found, "load newer candles by scheduling: perps run")


def _has_extension(given: Given) -> bool:
    return given.preloaded and given.extension and not given.hidden_in
