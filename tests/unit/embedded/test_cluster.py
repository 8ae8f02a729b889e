from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from extract.database.database import Database, DatabaseError
from extract.embedded import cluster as cluster_module
from extract.embedded.cluster import Cluster, default_cache, default_data, free_port
from extract.embedded.files import is_locked, locked, make_folder, write_private
from extract.embedded.state import State
from extract.errors import PerpsError


def hold(path: str, held, release) -> None:
    with locked(Path(path)):
        held.set()
        release.wait(30)


def test_a_private_file_is_readable_by_its_owner_alone_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "connection.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_folders_get_their_mode_under_any_umask_and_existing_ones_keep_theirs(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(0o750)
    before = os.umask(0o077)
    try:
        make_folder(kept / "a/b", 0o711, 0o755)
    finally:
        os.umask(before)
    modes = [(kept / name).stat().st_mode & 0o777 for name in ("", "a", "a/b")]
    assert modes == [0o750, 0o755, 0o711]


def test_a_lock_is_seen_while_another_process_holds_it_and_not_after(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    child = context.Process(target=hold, args=(str(path), held, release))
    child.start()
    try:
        assert held.wait(30)
        assert is_locked(path)
        release.set()
    finally:
        child.join(30)
    assert not is_locked(path)


def test_a_port_in_use_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert free_port(taken.getsockname()[1]) == 0
    assert free_port(0) > 0


def test_an_ordinary_users_folders_follow_the_desktop_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/data/someone")
    assert default_cache() == Path("/home/someone/.cache/perps")
    assert default_data() == Path("/data/someone/perps/server")


def test_roots_folders_are_reachable_for_the_servers_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module.os, "geteuid", lambda: 0)
    assert (default_cache(), default_data()) == (Path("/var/cache/perps"), Path("/var/lib/perps/server"))


def test_without_a_cluster_a_connection_is_an_error_and_stopping_is_not(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "data", tmp_path / "cache")
    with pytest.raises(
        PerpsError, match=r"expected an embedded server in .*, got none; run `perps db start`"
    ):
        cluster.database()
    with pytest.raises(PerpsError, match="got none"):
        cluster.create_database("demo")
    cluster.stop()
    cluster.destroy()
    assert not (tmp_path / "data").exists()


def test_the_status_of_nothing_is_stopped_and_unknown(tmp_path: Path) -> None:
    status = Cluster(tmp_path / "data", tmp_path / "cache").status()
    assert (status.running, status.pid, status.port) == (False, None, None)
    assert (status.pg_version, status.timescaledb_version, status.edition) == (None, None, None)
    assert (status.data, status.cache) == (tmp_path / "data", tmp_path / "cache")


@pytest.mark.parametrize("content", ["", "[]", '{"port": 1, "unknown": 2}'])
def test_a_damaged_connection_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "connection.json").write_text(content)
    with pytest.raises(PerpsError, match=r"expected the server's port and passwords in .*connection\.json"):
        Cluster(tmp_path, tmp_path / "cache").status()


def test_an_unknown_role_and_an_impossible_database_name_are_refused(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, tmp_path / "cache")
    with pytest.raises(PerpsError, match="expected a role among postgres, perps, perps_reader, got root"):
        cluster.database("root")
    for name in ("", "x" * 64, 'a"b', "1st"):
        with pytest.raises(PerpsError, match="expected a database name"):
            cluster.create_database(name)


def existing_cluster(folder: Path) -> Cluster:
    passwords = dict.fromkeys(("postgres", "perps", "perps_reader"), "hidden")
    (folder / "connection.json").write_text(json.dumps({"port": 1, "passwords": passwords}))
    (folder / "pgdata").mkdir()
    return Cluster(folder, folder / "cache")


class Replies:
    """A server that lives through as many looks as it has replies; a text is a refusal, None an answer."""

    def __init__(self, *replies: str | None) -> None:
        self.left = list(replies)

    def alive(self) -> bool:
        return bool(self.left)

    def connect(self, *_args: object, **_options: object) -> Replies:
        reply = self.left.pop(0)
        if reply is not None:
            raise DatabaseError(reply)
        return self

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("replies", "answers"),
    [
        (["the database system is starting up", "not yet accepting connections", None], True),
        (["the database system is shutting down", "connection refused"], False),
        (["connection refused"], False),
        ([None], True),
        ([], False),
    ],
)
def test_a_server_that_recovers_or_ends_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replies: list[str | None], answers: bool
) -> None:
    cluster, server = existing_cluster(tmp_path), Replies(*replies)
    monkeypatch.setattr(cluster, "_server", server)
    monkeypatch.setattr(Database, "connect", server.connect)
    assert cluster._settled(State.read(cluster._file)) is answers


def test_a_server_that_refuses_the_password_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, server = existing_cluster(tmp_path), Replies(*["password authentication failed"] * 1000)
    monkeypatch.setattr(cluster, "_server", server)
    monkeypatch.setattr(Database, "connect", server.connect)
    with pytest.raises(PerpsError) as caught:
        cluster._settled(State.read(cluster._file))
    assert "password authentication failed" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert len(server.left) == 999
