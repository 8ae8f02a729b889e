"""One PostgreSQL server process and its data: create, launch, halt, and check whether it lives."""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import time
from pathlib import Path

from extract.embedded.errors import EmbedError, cannot_embed
from extract.embedded.files import is_locked, locked, write_private
from extract.embedded.packages import Packages
from extract.embedded.programs import Account, ProgramFailed, run, telling_line
from extract.embedded.settings_file import Machine, render, settings

logger = logging.getLogger(__name__)

LOG_LIMIT = 10_000_000
"""Bytes; the next command rotates a longer server log and replaces the previous rotated one."""

RECOVERY_SECONDS = 600
"""Seconds that crash recovery may take: 26 s were measured for 3.65 GB of write-ahead log."""

ORPHAN_SECONDS = 30
"""Seconds that the processes of a killed server may take to end."""


class Postmaster:
    """The server whose data is in `folder`/pgdata.

    The server and all its processes inherit a lock on `folder`/.server, which shows whether any of them
    lives. The process id in postmaster.pid may be a zombie's, another program's, or another container's.
    """

    def __init__(self, packages: Packages, folder: Path, account: Account) -> None:
        """Set the folders and the account; reads and starts nothing."""
        self._packages = packages
        self._account = account
        self._folder = folder
        self._lock = folder / ".server"
        self._new = folder / "pgdata.new"
        self._secret = folder / ".initdb"
        self.pgdata = folder / "pgdata"
        self.log = self.pgdata / "server.log"

    def alive(self) -> bool:
        """Return whether a process of this server lives, even if the server does not respond."""
        return is_locked(self._lock)

    def pid(self) -> int | None:
        """Return the postmaster's process id, None if no server lives."""
        try:
            return int((self.pgdata / "postmaster.pid").read_text().split()[0]) if self.alive() else None
        except (OSError, ValueError, IndexError):
            return None

    def initdb(self, password: str) -> None:
        """Create pgdata with the superuser `postgres`; an interrupted run has no effect.

        The locale is PostgreSQL's own C.UTF-8, which needs no file of the host.

        Raises:
            EmbedError: the account has no name, or initdb fails.
        """
        try:
            pwd.getpwuid(self._account.uid)
        except KeyError:
            raise cannot_embed(
                "a user name for this account", f"uid {self._account.uid} without one", "run as another user"
            ) from None
        new, secret = self._new, self._secret
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        owner = (self._account.uid, self._account.gid)
        shutil.chown(new, *owner)
        write_private(secret, password + "\n", owner)
        words: list[str | Path] = [
            "-U",
            "postgres",
            "--pwfile",
            secret,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--data-checksums",
        ]
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        try:
            with locked(self._lock) as inherited:
                self._run("initdb", new, *words, *locale, pass_fds=(inherited,))
        except ProgramFailed as failed:
            raise EmbedError(
                f"could not create a database cluster in {new}: {failed.reason}; check the disk and its owner"
            ) from None
        finally:
            secret.unlink(missing_ok=True)
        write_private(new / "pg_hba.conf", "host all all 127.0.0.1/32 scram-sha-256\n", owner)
        with (new / "postgresql.conf").open("a", encoding="utf-8") as out:
            out.write("\ninclude 'embedded.conf'\n")
        new.rename(self.pgdata)

    def launch(self, port: int) -> None:
        """Start the server on 127.0.0.1:`port` and wait until it responds, crash recovery included.

        The caller must hold the folder's lock and have checked that the server is not alive.

        Raises:
            EmbedError: the server does not start; the message has the server's own reason.
        """
        owner = (self._account.uid, self._account.gid)
        write_private(self.pgdata / "embedded.conf", render(settings(port, Machine.here())), owner)
        # no process lives, so the process id in it is dead, a zombie's or another program's
        (self.pgdata / "postmaster.pid").unlink(missing_ok=True)
        zones = self.pgdata / "zoneinfo"
        zones.unlink(missing_ok=True)
        zones.symlink_to(self._packages.zones)
        rotate(self.log)
        begin = self.log.stat().st_size if self.log.exists() else 0
        wait: list[str | int | Path] = ["-w", "-s", "-t", RECOVERY_SECONDS, "-l", self.log]
        try:
            with locked(self._lock) as inherited:
                self._run("pg_ctl", self.pgdata, "start", *wait, pass_fds=(inherited,))
        except ProgramFailed as failed:
            written = self.log.read_bytes()[begin:].decode(errors="replace") if self.log.exists() else ""
            reason = telling_line(written) if written else failed.reason
            raise EmbedError(f"the embedded server did not start: {reason}; see {self.log}") from None

    def halt(self, mode: str = "fast") -> None:
        """Stop the server, end its sessions, and wait until its last process has ended.

        `mode` is pg_ctl's: `immediate` skips the last checkpoint, for data that will be deleted.

        Raises:
            EmbedError: the server does not stop.
        """
        if not self.alive():
            return
        reason = "its processes do not end"
        try:
            self._run("pg_ctl", self.pgdata, "stop", "-w", "-s", "-t", RECOVERY_SECONDS, "-m", mode)
        except ProgramFailed as failed:  # its postmaster was killed: the other processes notice and end
            reason = failed.reason
        deadline = time.monotonic() + ORPHAN_SECONDS
        while self.alive():
            if time.monotonic() > deadline:
                raise EmbedError(f"the server in {self.pgdata} did not stop: {reason}; see {self.log}")
            time.sleep(0.05)

    def erase(self) -> None:
        """Delete the data of a server that does not run."""
        for folder in (self.pgdata, self._new):
            shutil.rmtree(folder, ignore_errors=True)
        self._secret.unlink(missing_ok=True)

    def _run(
        self, program: str, pgdata: Path, *words: str | int | Path, pass_fds: tuple[int, ...] = ()
    ) -> str:
        command: list[str | Path] = [self._packages.program(program), "-D", pgdata, *map(str, words)]
        return run(command, account=self._account, cwd=pgdata, pass_fds=pass_fds)


def rotate(log: Path, limit: int = LOG_LIMIT) -> None:
    """Copy a log of more than `limit` bytes to NAME.1, replacing the previous copy, and empty it.

    A running server continues to append to the same file.
    """
    if log.exists() and log.stat().st_size > limit:
        shutil.copy2(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)
