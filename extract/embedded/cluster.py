"""The embedded TimescaleDB: install, start, stop, and the databases and roles in it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from extract.core.advice import NOT_YET
from extract.database.database import Database, DatabaseError
from extract.embedded import roles
from extract.embedded.errors import EmbedError
from extract.embedded.files import locked, make_folder, one_line_errors
from extract.embedded.packages import Packages
from extract.embedded.postmaster import ORPHAN_SECONDS, RECOVERY_SECONDS, Postmaster, rotate
from extract.embedded.programs import Account
from extract.embedded.state import HOST, State

__all__ = ["Cluster", "EmbedError", "Status", "default_cache", "default_data"]

logger = logging.getLogger(__name__)

DATABASE = "perps"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Status:
    """What is known without starting anything; None where nothing is known.

    `edition` is `apache` (Debian's packages) or `timescale`, as `show timescaledb.license` says it.
    """

    running: bool
    pid: int | None
    port: int | None
    data: Path
    cache: Path
    pg_version: str | None
    timescaledb_version: str | None
    edition: str | None


def default_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the packages' folder: /var/cache/perps for root, else perps in the user's cache folder.

    Root's are system folders because the server's account cannot enter /root.
    """
    if os.geteuid() == 0:
        return Path("/var/cache/perps")
    return Path(environment.get("XDG_CACHE_HOME") or _user(environment) / ".cache") / "perps"


def default_data(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the data folder: /var/lib/perps/server for root, else perps/server in the user's data folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/perps/server")
    return Path(environment.get("XDG_DATA_HOME") or _user(environment) / ".local/share") / "perps" / "server"


def _user(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


class Cluster:
    """An embedded server: packages in `cache`, and pgdata and connection.json in `data`.

    It listens on 127.0.0.1 alone, with generated passwords, and outlives the process that started it. Every
    method may be called by several processes at once.
    """

    def __init__(
        self, data: Path | None = None, cache: Path | None = None, mirror: str | None = None
    ) -> None:
        """Name the folders (None: the defaults) and the Debian mirror (None: the host's)."""
        self.data = (data or default_data()).resolve()
        self._packages = Packages(cache or default_cache(), mirror)
        self._account = Account.for_server()
        self._server = Postmaster(self._packages, self.data, self._account)
        self._file = self.data / "connection.json"

    def start(self, port: int | None = None) -> Database:
        """Return the database `perps`, opened as the role `perps`, with the server running.

        Installs the packages if needed, waits out crash recovery, and returns at once when the server
        answers. `port`: the TCP port wanted; None takes the last one if it is free, else any. A server that
        already runs keeps its port.

        Raises:
            EmbedError: this host cannot embed, or the server does not start.
        """
        self._packages.install(self._account)
        # root keeps the folder and lets the server's account pass through to pgdata
        make_folder(self.data, 0o711 if self._account.drop else 0o700, 0o755)
        with one_line_errors(), self._locked():
            state = State.read(self._file) or self._new_state()
            if self._settled(state):
                rotate(self._server.log)
                if port not in (None, state.port):
                    logger.warning("the embedded server already runs on port %d, not %d", state.port, port)
            else:
                state = self._launch(state, port)
            self._ensure_database(state, DATABASE)
        return state.database(roles.OWNER, DATABASE)

    def stop(self) -> None:
        """Stop the server, ending open sessions; nothing happens when none runs.

        Raises:
            EmbedError: it does not end.
        """
        if self.data.is_dir():
            with self._locked():
                self._server.halt()

    def status(self) -> Status:
        """Return what is known of the server: from itself while it answers, else from its packages."""
        versions = self._packages.versions() or {}
        facts = (versions.get("postgres"), versions.get("timescaledb"), versions.get("edition"))
        state, pid = State.read(self._file), self._server.pid()
        if state and pid:
            with contextlib.suppress(DatabaseError):
                facts = roles.server_facts(state.database(roles.SUPERUSER, DATABASE))
        port = state.port or None if state else None
        return Status(pid is not None, pid, port, self.data, self._packages.cache, *facts)

    def destroy(self) -> None:
        """Stop the server and delete its data and passwords; the packages stay.

        Raises:
            EmbedError: it does not stop.
        """
        if self.data.is_dir():
            with self._locked():
                self._server.halt("immediate")
                self._server.erase()
                self._file.unlink(missing_ok=True)

    def database(self, role: str = roles.OWNER, dbname: str = DATABASE) -> Database:
        """Return how `role` (perps, perps_reader or postgres) reaches `dbname`, running or not.

        Raises:
            EmbedError: there is no cluster yet, or no such role.
        """
        if role not in roles.ROLES:
            raise EmbedError(f"expected a role among {', '.join(roles.ROLES)}, got {role}")
        return self._existing().database(role, dbname)

    def is_reached_by(self, database: Database) -> bool:
        """Tell whether a database is one of this server's, as `database` returns them, running or not."""
        with contextlib.suppress(EmbedError):  # of another user's server
            state = State.read(self._file)
            return state is not None and database == state.database(database.user, database.dbname)
        return False

    def create_database(self, name: str) -> Database:
        """Return the database `name`, opened as its owner `perps`, creating it if needed.

        It has TimescaleDB, and `perps_reader` may read whatever `perps` creates in it, now or later.

        Raises:
            EmbedError: there is no cluster yet, or `name` cannot name a database.
            DatabaseError: the server does not run.
        """
        if not _NAME.fullmatch(name):
            raise EmbedError(
                f"expected a database name of 1 to 63 letters, digits, _ and -, got {name!r}; choose another"
            )
        state = self._existing()
        with self._locked():
            self._ensure_database(state, name)
        return state.database(roles.OWNER, name)

    def drop_database(self, name: str) -> None:
        """Drop the database `name`, ending its sessions; nothing happens when there is none.

        Raises:
            EmbedError: there is no cluster yet, or the server itself needs this database.
            DatabaseError: the server does not run.
        """
        state = self._existing()
        with self._locked():
            roles.remove_database(state.database(roles.SUPERUSER, "postgres"), name)

    def program(self, name: str) -> Path:
        """Return the path of one of the installed PostgreSQL programs, such as `psql`.

        Raises:
            EmbedError: nothing is installed yet, or there is no such program.
        """
        return self._packages.program(name)

    def _ensure_database(self, state: State, name: str) -> None:
        superuser = state.database(roles.SUPERUSER, "postgres")
        roles.ensure_database(self.program("psql"), superuser, name, state.passwords)

    def _locked(self) -> contextlib.AbstractContextManager[int]:
        return locked(self.data / ".lock")

    def _existing(self) -> State:
        state = State.read(self._file)
        if state is None or not self._server.pgdata.is_dir():
            raise EmbedError(f"expected an embedded server in {self.data}, got none; run `perps db start`")
        return state

    def _new_state(self) -> State:
        if self._server.pgdata.exists():
            raise EmbedError(
                f"expected the server's passwords in {self._file}, got no such file; "
                "restore it, or delete the data with `perps db destroy`"
            )
        return State()

    def _settled(self, state: State) -> bool:
        """Return True once a living server answers, False once none lives.

        A server may be replaying its log after a crash, shutting down, or have lost its postmaster.
        """
        begin = time.monotonic()
        silent_since, told = begin, False
        while self._server.alive():
            try:
                state.database(roles.SUPERUSER, "postgres").connect().close()
                return True
            except DatabaseError as error:
                now = time.monotonic()
                if any(word in str(error) for word in NOT_YET):
                    silent_since = now
                    if not told:
                        logger.info(
                            "waiting for the embedded server, which recovers from a crash or shuts down"
                        )
                        told = True
                refused = "authentication failed" in str(error)
                if refused or now - silent_since > ORPHAN_SECONDS or now - begin > RECOVERY_SECONDS:
                    raise EmbedError(
                        f"expected the server in {self.data} to answer or to end, got neither: {error}"
                    ) from None
            time.sleep(0.1)
        return False

    def _launch(self, state: State, port: int | None) -> State:
        self._check_reach()
        if port and not free_port(port):
            raise EmbedError(f"expected port {port} to be free, got one in use; choose another, or none")
        chosen = port or (state.port and free_port(state.port)) or free_port(0)
        state = replace(state, port=chosen)
        state.write(self._file)
        if not self._server.pgdata.exists():
            logger.info("creating the database cluster in %s", self.data)
            self._server.initdb(state.passwords[roles.SUPERUSER])
        self._server.launch(chosen)
        installed = (self._packages.versions() or {}).get("timescaledb", "")
        if state.timescaledb not in ("", installed):
            logger.info("updating TimescaleDB from %s to %s", state.timescaledb, installed)
            roles.update_extension(state.database(roles.SUPERUSER, "postgres"))
        if state.timescaledb != installed:
            state = replace(state, timescaledb=installed)
            state.write(self._file)
        return state

    def _check_reach(self) -> None:
        for path in (self._packages.program("postgres"), self.data):
            if not self._account.can_reach(path):
                raise EmbedError(
                    f"expected a path that uid {self._account.uid} can use, got {path} below a closed or "
                    "noexec folder; choose other folders with PERPS_HOME and PERPS_CACHE"
                )
        if self._server.pgdata.exists() and self._server.pgdata.stat().st_uid != self._account.uid:
            owner = self._server.pgdata.stat().st_uid
            raise EmbedError(
                f"expected {self._server.pgdata} to belong to uid {self._account.uid}, got uid {owner}; "
                "run as the user who created it"
            )


def free_port(port: int) -> int:
    """Return `port` (0: one of the kernel's choice) if 127.0.0.1 can be bound to it, else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])
