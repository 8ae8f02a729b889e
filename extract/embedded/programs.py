"""Runs the host's tools and PostgreSQL's programs: clean environment, chosen account, one-line reasons."""

from __future__ import annotations

import logging
import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.embedded.errors import cannot_embed

logger = logging.getLogger(__name__)

_TELLING = re.compile(r"^E: |No space left|FATAL:|PANIC:|ERROR:|error:")


class ProgramFailed(Exception):  # noqa: N818  # never printed: callers turn it into an EmbedError
    """A program ended with a status other than 0; `reason` is the line of its output that says why."""

    def __init__(self, name: str, output: str) -> None:
        super().__init__(name)
        self.reason = f"{name}: {telling_line(output)}"
        self.output = output


@dataclass(frozen=True)
class Account:
    """The uid and gid that PostgreSQL runs as; `drop` if the caller is root and has to switch to them."""

    uid: int
    gid: int
    drop: bool

    @classmethod
    def for_server(cls) -> Account:
        """Return the caller, or for root the account `nobody`, since PostgreSQL refuses to run as root.

        Raises:
            EmbedError: root on a host without the account `nobody`.
        """
        if os.geteuid() != 0:
            return cls(os.getuid(), os.getgid(), drop=False)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise cannot_embed(
                "an account 'nobody' to run PostgreSQL as", "none", "run as an ordinary user"
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid, drop=True)

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that make `subprocess` run a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.drop else {}

    def can_reach(self, path: Path) -> bool:
        """Return whether this account may enter the folder, or run the program, at `path`."""
        done = subprocess.run(["test", "-x", str(path)], check=False, cwd="/", **self.options())
        return done.returncode == 0


def run(
    command: Iterable[str | Path],
    *,
    account: Account | None = None,
    cwd: Path | None = None,
    pass_fds: tuple[int, ...] = (),
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run `command` without input and return its output, in English.

    Only PATH and the proxy variables are passed on, because PG variables and LD_LIBRARY_PATH would change
    what the programs do; `variables` are added.

    Raises:
        ProgramFailed: the status is not 0, or the program cannot be run.
    """
    words = [str(word) for word in command]
    kept = {
        key: value for key, value in os.environ.items() if key == "PATH" or key.lower().endswith("_proxy")
    }
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            env=kept | {"LC_ALL": "C", "HOME": "/"} | dict(variables or {}),
            cwd=cwd or "/",
            pass_fds=pass_fds,
            umask=0o022,
            **(account.options() if account else {}),
        )
    except OSError as error:
        raise ProgramFailed(Path(words[0]).name, str(error)) from None
    if done.returncode:
        logger.debug("%s ended with %d: %s", words[0], done.returncode, mask_secrets(done.stdout))
        raise ProgramFailed(Path(words[0]).name, done.stdout or f"ended with {done.returncode}")
    return str(done.stdout)


def telling_line(output: str) -> str:
    """Return the first line of `output` that names an error, else the last line; masks passwords in URIs."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)] or lines[-1:] or ["no output"]
    return mask_secrets(telling[0])


def mask_secrets(text: str) -> str:
    """Return `text` with `user:password@` removed from every URI."""
    return re.sub(r"(?<=://)[^/\s@]+@", "", text)
