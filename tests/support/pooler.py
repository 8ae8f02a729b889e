"""A real PgBouncer from Debian's packages, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.database.watchdog import responds
from extract.embedded.apt import PrivateApt
from extract.embedded.cluster import free_port
from extract.embedded.errors import EmbedError
from extract.embedded.mirror import find_mirror
from extract.embedded.packages import check_host
from extract.embedded.programs import Account
from tests.support.waiting import wait_until


def unpack_pgbouncer(folder: Path) -> Path:
    """Fetch PgBouncer and its libraries into a folder, and return its tree; skip where no mirror responds."""
    folder.chmod(0o755)
    lock = os.open(folder, os.O_RDONLY)
    try:
        apt = PrivateApt(folder, check_host(), find_mirror(None), lock)
        apt.update()
        packages = apt.download(apt.closure(["pgbouncer"]))
    except EmbedError as error:
        pytest.skip(f"PgBouncer comes from Debian's packages: {error}")
    finally:
        os.close(lock)
    for package in packages:
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    return folder / "root"


@contextmanager
def pooling(tree: Path, server: Database, mode: str) -> Iterator[Database]:
    """Run PgBouncer in front of a server, and yield the connection through it.

    Args:
        tree: see `unpack_pgbouncer`.
        server: where it leads, on TCP.
        mode: `transaction` or `session`.
    """
    through = replace(server, host="127.0.0.1", port=free_port(0))
    users, settings = tree.parent / f"users-{mode}.txt", tree.parent / f"pgbouncer-{mode}.ini"
    users.write_text(f'"{server.user}" "{server.password}"\n', encoding="utf-8")
    settings.write_text(
        f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {through.port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {users}\n"
        f"pool_mode = {mode}\nignore_startup_parameters = options,extra_float_digits\n",
        encoding="utf-8",
    )
    (loader,) = tree.glob("usr/lib/*-linux-gnu/ld-linux-*.so.*")
    command: list[str | Path] = [
        loader,
        "--inhibit-cache",
        "--library-path",
        loader.parent,
        tree / "usr/sbin/pgbouncer",
        settings,
    ]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        **Account.for_server().options(),
    )
    try:
        wait_until(lambda: process.poll() is not None or responds(through), "PgBouncer", 20)
        assert process.poll() is None, process.communicate()[1]
        yield through
    finally:
        process.terminate()
        process.communicate()
