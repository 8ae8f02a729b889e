"""The embedded TimescaleDB: install, start, stop, and the databases and roles in it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from extract.core.advice import NOT_YET
from extract.database.connection import Connection, DatabaseError
from extract.embedded import roles
from extract.embedded.errors import EmbedError
from extract.embedded.files import locked, make_folder, one_line_errors, write_private
from extract.embedded.packages import Packages
from extract.embedded.postmaster import ORPHAN_SECONDS, RECOVERY_SECONDS, Postmaster, rotate
from extract.embedded.programs import Account

__all__ = ["Cluster", "EmbedError", "Status", "default_cache", "default_data"]

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
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


@dataclass(frozen=True)
class _State:
    """connection.json: the port last used, the generated passwords, the TimescaleDB that opened the data."""

    port: int = 0
    passwords: dict[str, str] = field(
        default_factory=lambda: {role: secrets.token_urlsafe(24) for role in roles.ROLES}, repr=False
    )
    timescaledb: str = ""


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

    def start(self, port: int | None = None) -> Connection:
        """Return a connection to the database `perps` as the role `perps`, with the server running.

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
            state = self._read() or self._new_state()
            if self._settled(state):
                rotate(self._server.log)
                if port not in (None, state.port):
                    logger.warning("the embedded server already runs on port %d, not %d", state.port, port)
            else:
                state = self._launch(state, port)
            self._ensure_database(state, DATABASE)
        return _connection(state, roles.OWNER, DATABASE)

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
        state, pid = self._read(), self._server.pid()
        if state and pid:
            with contextlib.suppress(DatabaseError):
                facts = roles.server_facts(_connection(state, roles.SUPERUSER, DATABASE))
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

    def connection(self, role: str = roles.OWNER, dbname: str = DATABASE) -> Connection:
        """Return how `role` (perps, perps_reader or postgres) reaches `dbname`, running or not.

        Raises:
            EmbedError: there is no cluster yet, or no such role.
        """
        if role not in roles.ROLES:
            raise EmbedError(f"expected a role among {', '.join(roles.ROLES)}, got {role}")
        return _connection(self._existing(), role, dbname)

    def is_reached_by(self, connection: Connection) -> bool:
        """Tell whether a connection is one of this server's, as `connection` returns them, running or not."""
        with contextlib.suppress(EmbedError):  # of another user's server
            state = self._read()
            return state is not None and connection == _connection(state, connection.user, connection.dbname)
        return False

    def create_database(self, name: str) -> Connection:
        """Return a connection to the database `name` as its owner `perps`, creating it if needed.

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
        return _connection(state, roles.OWNER, name)

    def drop_database(self, name: str) -> None:
        """Drop the database `name`, ending its sessions; nothing happens when there is none.

        Raises:
            EmbedError: there is no cluster yet, or the server itself needs this database.
            DatabaseError: the server does not run.
        """
        state = self._existing()
        with self._locked():
            roles.remove_database(_connection(state, roles.SUPERUSER, "postgres"), name)

    def program(self, name: str) -> Path:
        """Return the path of one of the installed PostgreSQL programs, such as `psql`.

        Raises:
            EmbedError: nothing is installed yet, or there is no such program.
        """
        return self._packages.program(name)

    def _ensure_database(self, state: _State, name: str) -> None:
        superuser = _connection(state, roles.SUPERUSER, "postgres")
        roles.ensure_database(self.program("psql"), superuser, name, state.passwords)

    def _locked(self) -> contextlib.AbstractContextManager[int]:
        return locked(self.data / ".lock")

    def _read(self) -> _State | None:
        try:
            return _State(**json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EmbedError(
                f"expected to read {self._file}, got {error.strerror}; run as its owner"
            ) from None
        except (TypeError, ValueError):
            raise EmbedError(
                f"expected the server's port and passwords in {self._file}, got something else; "
                "restore the file, or delete the data with `perps db destroy`"
            ) from None

    def _existing(self) -> _State:
        state = self._read()
        if state is None or not self._server.pgdata.is_dir():
            raise EmbedError(f"expected an embedded server in {self.data}, got none; run `perps db start`")
        return state

    def _new_state(self) -> _State:
        if self._server.pgdata.exists():
            raise EmbedError(
                f"expected the server's passwords in {self._file}, got no such file; "
                "restore it, or delete the data with `perps db destroy`"
            )
        return _State()

    def _write(self, state: _State) -> None:
        content = {"port": state.port, "passwords": state.passwords, "timescaledb": state.timescaledb}
        write_private(self._file, json.dumps(content, indent=1) + "\n")

    def _settled(self, state: _State) -> bool:
        """Return True once a living server answers, False once none lives.

        A server may be replaying its log after a crash, shutting down, or have lost its postmaster.
        """
        begin = time.monotonic()
        silent_since, told = begin, False
        while self._server.alive():
            try:
                _connection(state, roles.SUPERUSER, "postgres").connect().close()
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

    def _launch(self, state: _State, port: int | None) -> _State:
        self._check_reach()
        if port and not free_port(port):
            raise EmbedError(f"expected port {port} to be free, got one in use; choose another, or none")
        chosen = port or (state.port and free_port(state.port)) or free_port(0)
        state = replace(state, port=chosen)
        self._write(state)
        if not self._server.pgdata.exists():
            logger.info("creating the database cluster in %s", self.data)
            self._server.initdb(state.passwords[roles.SUPERUSER])
        self._server.launch(chosen)
        installed = (self._packages.versions() or {}).get("timescaledb", "")
        if state.timescaledb not in ("", installed):
            logger.info("updating TimescaleDB from %s to %s", state.timescaledb, installed)
            roles.update_extension(_connection(state, roles.SUPERUSER, "postgres"))
        if state.timescaledb != installed:
            state = replace(state, timescaledb=installed)
            self._write(state)
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


def _connection(state: _State, role: str, dbname: str) -> Connection:
    return Connection(HOST, state.port, dbname, role, state.passwords.get(role, ""))


def free_port(port: int) -> int:
    """Return `port` (0: one of the kernel's choice) if 127.0.0.1 can be bound to it, else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])
