"""The embedded TimescaleDB server: install, start, stop, and its databases and roles."""

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
    """What is known without starting anything; fields are None if unknown.

    `edition` is `apache` (Debian's packages) or `timescale`, the value of `show timescaledb.license`.
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
    """Return the folder of the packages: /var/cache/perps for root, else perps in the user's cache folder.

    For root it is a system folder, because the server's account cannot enter /root.
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

    It listens only on 127.0.0.1, with generated passwords, and keeps running after the process that started
    it. Several processes may call any method at the same time.
    """

    def __init__(
        self, data: Path | None = None, cache: Path | None = None, mirror: str | None = None
    ) -> None:
        """Set the folders (None: the defaults) and the Debian mirror (None: the host's)."""
        self.data = (data or default_data()).resolve()
        self._packages = Packages(cache or default_cache(), mirror)
        self._account = Account.for_server()
        self._server = Postmaster(self._packages, self.data, self._account)
        self._file = self.data / "connection.json"

    def start(self, port: int | None = None) -> Database:
        """Start the server if necessary and return the database `perps`, to open as the role `perps`.

        Installs the packages if necessary and waits for crash recovery. `port` is the TCP port; None takes
        the last one if it is free, else any free one. A running server keeps its port.

        Raises:
            EmbedError: this host cannot run an embedded server, or the server does not start.
        """
        self._packages.install(self._account)
        # root owns the folder, and the server's account may pass through it to pgdata
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
        """Stop the server and end its sessions; does nothing if it does not run.

        Raises:
            EmbedError: the server does not stop.
        """
        if self.data.is_dir():
            with self._locked():
                self._server.halt()

    def status(self) -> Status:
        """Return the server's status; versions come from the running server, else from its packages."""
        versions = self._packages.versions() or {}
        facts = (versions.get("postgres"), versions.get("timescaledb"), versions.get("edition"))
        state, pid = State.read(self._file), self._server.pid()
        if state and pid:
            with contextlib.suppress(DatabaseError):
                facts = roles.server_facts(state.database(roles.SUPERUSER, DATABASE))
        port = state.port or None if state else None
        return Status(pid is not None, pid, port, self.data, self._packages.cache, *facts)

    def destroy(self) -> None:
        """Stop the server and delete its data and passwords; the packages are kept.

        Raises:
            EmbedError: the server does not stop.
        """
        if self.data.is_dir():
            with self._locked():
                self._server.halt("immediate")
                self._server.erase()
                self._file.unlink(missing_ok=True)

    def database(self, role: str = roles.OWNER, dbname: str = DATABASE) -> Database:
        """Return the database `dbname`, to open as `role` (perps, perps_reader or postgres); starts nothing.

        Raises:
            EmbedError: there is no server yet, or no such role.
        """
        if role not in roles.ROLES:
            raise EmbedError(f"expected one of the roles {', '.join(roles.ROLES)}, got {role}")
        return self._existing().database(role, dbname)

    def is_reached_by(self, database: Database) -> bool:
        """Return whether a database is on this server, whether or not the server runs."""
        with contextlib.suppress(EmbedError):  # the folder is another user's
            state = State.read(self._file)
            return state is not None and database == state.database(database.user, database.dbname)
        return False

    def create_database(self, name: str) -> Database:
        """Create the database `name` if necessary and return it, to open as its owner `perps`.

        It has TimescaleDB, and `perps_reader` may read everything that `perps` creates in it, now or later.

        Raises:
            EmbedError: there is no server yet, or `name` is not a valid name.
            DatabaseError: the server does not run.
        """
        if not _NAME.fullmatch(name):
            raise EmbedError(f"expected a database name of 1 to 63 letters, digits, _ and -, got {name!r}")
        state = self._existing()
        with self._locked():
            self._ensure_database(state, name)
        return state.database(roles.OWNER, name)

    def drop_database(self, name: str) -> None:
        """Drop the database `name` and end its sessions; does nothing if there is no such database.

        Raises:
            EmbedError: there is no server yet, or the server itself needs this database.
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
            raise EmbedError(f"no embedded server in {self.data}; run: perps db start")
        return state

    def _new_state(self) -> State:
        if self._server.pgdata.exists():
            raise EmbedError(
                f"{self._file}, with the server's passwords, is missing; "
                "restore it, or delete the data with: perps db destroy --yes"
            )
        return State()

    def _settled(self, state: State) -> bool:
        """Wait until the server responds and return True, or until it has ended and return False.

        The server may be in crash recovery, shutting down, or have lost its postmaster.
        """
        begin = time.monotonic()
        silent_since, warned = begin, False
        while self._server.alive():
            try:
                state.database(roles.SUPERUSER, "postgres").connect().close()
                return True
            except DatabaseError as error:
                now = time.monotonic()
                if any(word in str(error) for word in NOT_YET):
                    silent_since = now
                    if not warned:
                        logger.info("waiting for the embedded server, which is starting up or shutting down")
                        warned = True
                refused = "authentication failed" in str(error)
                if refused or now - silent_since > ORPHAN_SECONDS or now - begin > RECOVERY_SECONDS:
                    raise EmbedError(
                        f"the server in {self.data} neither responds nor ends: {error}; "
                        f"see the server's log below {self.data}"
                    ) from None
            time.sleep(0.1)
        return False

    def _launch(self, state: State, port: int | None) -> State:
        self._check_reach()
        if port and not free_port(port):
            raise EmbedError(f"port {port} is in use; choose another with --port, or omit --port")
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
                    f"uid {self._account.uid}, which runs the server, cannot use {path} (permissions or "
                    "noexec); set PERPS_HOME and PERPS_CACHE to other folders"
                )
        if self._server.pgdata.exists() and self._server.pgdata.stat().st_uid != self._account.uid:
            owner = self._server.pgdata.stat().st_uid
            raise EmbedError(
                f"{self._server.pgdata} belongs to uid {owner}, not to uid {self._account.uid}; "
                "run as the user who created it"
            )


def free_port(port: int) -> int:
    """Return `port` if it is free on 127.0.0.1 (for 0: any free port), else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])
