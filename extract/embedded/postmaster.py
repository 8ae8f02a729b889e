"""One PostgreSQL server process and its data: create, launch, halt, and whether it lives."""

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
"""Bytes; a longer server log is set aside by the next command, in place of the one set aside before."""

RECOVERY_SECONDS = 600
"""How long replaying the write-ahead log may take: 26 s for 3.65 GB were measured."""

ORPHAN_SECONDS = 30
"""How long the processes of a killed server may take to notice and end."""


class Postmaster:
    """The server over `folder`/pgdata.

    The server and all its processes inherit a lock on `folder`/.server, so the kernel tells whether any of
    them lives: the number in postmaster.pid may be a zombie's, another program's, or another container's.
    """

    def __init__(self, packages: Packages, folder: Path, account: Account) -> None:
        """Name the server; nothing is read or started."""
        self._packages = packages
        self._account = account
        self._folder = folder
        self._lock = folder / ".server"
        self._new = folder / "pgdata.new"
        self._secret = folder / ".initdb"
        self.pgdata = folder / "pgdata"
        self.log = self.pgdata / "server.log"

    def alive(self) -> bool:
        """Tell whether a process of this server lives, even if it does not answer yet or any more."""
        return is_locked(self._lock)

    def pid(self) -> int | None:
        """Return the postmaster's process number, None when no server lives."""
        try:
            return int((self.pgdata / "postmaster.pid").read_text().split()[0]) if self.alive() else None
        except (OSError, ValueError, IndexError):
            return None

    def initdb(self, password: str) -> None:
        """Create pgdata with the superuser `postgres`; an interrupted run leaves nothing that counts.

        The locale is PostgreSQL's own C.UTF-8: no file of the host is read.

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
            raise EmbedError(f"expected a new database cluster in {new}, got {failed.reason}") from None
        finally:
            secret.unlink(missing_ok=True)
        write_private(new / "pg_hba.conf", "host all all 127.0.0.1/32 scram-sha-256\n", owner)
        with (new / "postgresql.conf").open("a", encoding="utf-8") as out:
            out.write("\ninclude 'embedded.conf'\n")
        new.rename(self.pgdata)

    def launch(self, port: int) -> None:
        """Start the server on 127.0.0.1:`port` and wait until it answers, crash recovery included.

        The caller holds the folder's lock and has seen that the server is not alive.

        Raises:
            EmbedError: it does not start; the message carries the server's own reason.
        """
        owner = (self._account.uid, self._account.gid)
        write_private(self.pgdata / "embedded.conf", render(settings(port, Machine.here())), owner)
        # no process lives, so the number in it is dead, a zombie's or another program's
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
            raise EmbedError(f"expected the embedded server to start, got {reason}; see {self.log}") from None

    def halt(self, mode: str = "fast") -> None:
        """Stop the server, open sessions included, and wait until its last process has ended.

        `mode` is pg_ctl's: `immediate` skips the last checkpoint, for data that will be deleted.

        Raises:
            EmbedError: it does not end.
        """
        if not self.alive():
            return
        reason = "processes that do not end"
        try:
            self._run("pg_ctl", self.pgdata, "stop", "-w", "-s", "-t", RECOVERY_SECONDS, "-m", mode)
        except ProgramFailed as failed:  # its postmaster was killed: the others notice and end
            reason = failed.reason
        deadline = time.monotonic() + ORPHAN_SECONDS
        while self.alive():
            if time.monotonic() > deadline:
                raise EmbedError(
                    f"expected the server in {self.pgdata} to stop, got {reason}; see {self.log}"
                )
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
    """Copy a log of more than `limit` bytes to NAME.1, replacing the one before, and empty it.

    A running server goes on writing into the same file, at its end.
    """
    if log.exists() and log.stat().st_size > limit:
        shutil.copy2(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)
