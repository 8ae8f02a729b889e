"""The embedded server for real: one package cache for the machine, a data folder per test or module."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from extract.database.database import Database, DatabaseError
from extract.embedded.cluster import Cluster, default_data
from extract.embedded.packages import ARCHITECTURES, TOOLS
from extract.embedded.programs import Account
from extract.errors import PerpsError
from tests.support.perps import run_program
from tests.support.truth import execute
from tests.support.waiting import wait_until

FORK = multiprocessing.get_context("fork")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in ARCHITECTURES or not all(map(shutil.which, TOOLS)),
    reason="only Debian and Ubuntu can embed TimescaleDB",
)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that the server's account can enter, which pytest's own, of mode 0700, is not for root."""
    folder = Path(tempfile.mkdtemp(prefix="perps-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def started() -> Iterator[Cluster]:
    with open_folder() as folder:
        cluster = Cluster(folder / "data")
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.destroy()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started() as running:
        yield running


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    with started() as running:
        yield running


def candles(connection: Database, rows: int) -> None:
    execute(
        connection,
        "create table candles (timestamp timestamptz not null, close float8)",
        "select create_hypertable('candles', by_range('timestamp', interval '7 days'))",
        "insert into candles select timestamptz '2024-01-01' + i * interval '1 minute', i "
        f"from generate_series(0, {rows - 1}) as i",
    )


def kill(pid: int | None) -> None:
    assert pid
    os.kill(pid, signal.SIGKILL)


def kill_once(process: BaseProcess, what: str, condition: Callable[[], bool]) -> None:
    """Kill a process as soon as something is so, while it is still at work."""
    process.start()
    wait_until(lambda: condition() or not process.is_alive(), what, pause=0.002)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"{what}: it had ended before"


# --- what is there


def test_the_status_tells_what_there_is(cluster: Cluster) -> None:
    status = cluster.status()
    (row,) = execute(
        cluster.database(),
        "select current_user, current_database(), current_setting('timescaledb.license'),"
        " (select extversion from pg_extension where extname = 'timescaledb'), current_setting('timezone'),"
        " inet_server_port()",
    )
    assert row == ("perps", "perps", "apache", status.timescaledb_version, "UTC", status.port)
    assert (status.running, status.edition, status.pg_version[:3]) == (True, "apache", "17.")
    assert status.pid and Path(f"/proc/{status.pid}").exists()


def test_the_statement_of_a_killed_program_ends_with_it(cluster: Cluster) -> None:
    env = {"PATH": os.environ["PATH"]} | cluster.database().env()
    command = [cluster.program("psql"), "-XAtc", "select pg_sleep(300) as of_a_killed_program"]
    sleeping = (
        "select count(*) from pg_stat_activity where state = 'active' and query like '%of_a_killed_program'"
    )
    program = subprocess.Popen(command, env=env)
    wait_until(lambda: execute(cluster.database(), sleeping) == [(1,)], "the statement under way")
    program.kill()
    program.wait()
    wait_until(lambda: execute(cluster.database(), sleeping) == [(0,)], "the end of the statement")


def test_no_background_job_is_scheduled_to_fail_under_this_licence(cluster: Cluster) -> None:
    superuser = cluster.database("postgres")
    assert execute(superuser, "select count(*) from _timescaledb_config.bgw_job where scheduled") == [(0,)]


def test_durability_is_on_and_time_zone_names_are_readable(cluster: Cluster) -> None:
    (row,) = execute(
        cluster.database(),
        "select current_setting('fsync'), current_setting('synchronous_commit'),"
        " current_setting('data_checksums'),"
        " (select name from pg_timezone_names where name = 'Europe/Berlin')",
    )
    assert row == ("on", "on", "on", "Europe/Berlin")


# --- who may do what


@pytest.mark.parametrize(
    "statement",
    [
        "alter role perps superuser",
        "create role other",
        "create database other",
        "set role postgres",
        "set session authorization postgres",
        "copy (select 1) to program 'true'",
        "select pg_read_file('postgresql.conf')",
        "alter system set fsync = off",
        "select rolpassword from pg_authid",
        "copy (select 1) to '/tmp/perps-escaped'",
        "select lo_import('/etc/passwd')",
        "grant pg_read_server_files to perps",
        "alter role postgres password 'mine'",
        "create extension file_fdw",
        "create function run(cstring) returns int language c as 'libc', 'system'",
        "create function _timescaledb_functions.mine() returns int language sql as 'select 1'",
        "update _timescaledb_config.bgw_job set scheduled = true",
        "alter database perps set session_preload_libraries = 'mine'",
        "load '/tmp/mine.so'",
        "set timescaledb.license = 'timescale'",
        "create event trigger mine on ddl_command_start execute function now()",
        "drop extension timescaledb",
    ],
)
def test_the_application_role_is_no_superuser_and_cannot_become_one(cluster: Cluster, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(cluster.database(), statement)


def test_the_reader_reads_hypertables_tables_and_schemas_made_after_it(cluster: Cluster) -> None:
    owner = cluster.create_database("readable")
    owners = "select datdba::regrole::text from pg_database where datname = current_database()"
    assert execute(owner, owners) == [("perps",)]
    candles(owner, 20_000)  # two chunks
    execute(owner, "create schema quality", "create table quality.gaps as select 1 as minutes",
          "create view quality.seen as select * from candles")  # fmt: skip
    reader = cluster.database("perps_reader", "readable")
    assert execute(reader, "select count(*), max(close) from candles") == [(20_000, 19_999)]
    assert execute(reader, "select minutes from quality.gaps") == [(1,)]
    assert execute(reader, "select count(*) from quality.seen") == [(20_000,)]
    bucket = "select count(*) from (select time_bucket('1 day', timestamp) from candles group by 1) as days"
    assert execute(reader, bucket) == [(14,)]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into candles values (now(), 1)",
        "update candles set close = 0",
        "truncate candles",
        "drop table candles",
        "create table mine (i int)",
        "create temporary table mine (i int)",
        "create schema mine",
        "select drop_chunks('candles', now())",
        "create function mine() returns int language sql as 'select 1'",
        "do $$ begin create table mine (i int); end $$",
        "copy (select 1) to program 'true'",
        "select pg_read_file('postgresql.conf')",
        "set role perps",
        "select lo_from_bytea(0, 'mine')",
        # the locks of loads and builds
        "select pg_try_advisory_lock(1885696624, 1)",
        "select pg_advisory_lock_shared(1885696624, 2)",
        "select pg_advisory_xact_lock(1)",
    ],
)
def test_the_reader_writes_nothing_even_in_a_writing_transaction(cluster: Cluster, statement: str) -> None:
    owner = cluster.create_database("guarded")
    if not execute(owner, "select 1 from pg_tables where tablename = 'candles'"):
        candles(owner, 10)
    reader = cluster.database("perps_reader", "guarded")
    with pytest.raises((psycopg2.errors.ReadOnlySqlTransaction, psycopg2.errors.InsufficientPrivilege)):
        execute(reader, statement)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(reader, "set default_transaction_read_only = off", statement)
    assert execute(owner, "select count(*) from candles") == [(10,)]


def test_only_the_functions_that_timescaledb_brings_run_as_their_owner(cluster: Cluster) -> None:
    owned = execute(
        cluster.database("postgres", "perps"),
        "select proname from pg_proc where prosecdef and has_function_privilege('public', oid, 'execute')"
        " and pronamespace::regnamespace::text not like '%timescaledb%'",
    )
    assert owned == []


def test_a_database_whose_preparation_was_killed_is_completed_by_the_next_start(own_cluster: Cluster) -> None:
    superuser = own_cluster.database("postgres", "postgres")
    execute(superuser, "drop database perps", "drop role perps_reader")
    execute(superuser, "create database perps template template0")
    assert execute(own_cluster.start(), "create schema mine", "select count(*) from pg_extension") == [(2,)]
    reader = own_cluster.database("perps_reader")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(reader, "select pg_advisory_lock(1)")


def test_a_database_is_made_once_and_dropped_with_its_sessions(cluster: Cluster) -> None:
    connection = cluster.create_database("short_lived")
    candles(connection, 10)
    assert cluster.create_database("short_lived") == connection
    assert execute(connection, "select count(*) from candles") == [(10,)]
    session = connection.connect()
    cluster.drop_database("short_lived")
    cluster.drop_database("short_lived")
    with pytest.raises(DatabaseError, match="does not exist"):
        connection.connect()
    session.close()


def test_the_servers_own_databases_are_not_dropped(cluster: Cluster) -> None:
    with pytest.raises(PerpsError, match="server itself needs database"):
        cluster.drop_database("postgres")


# --- who gets in


@pytest.mark.parametrize("role", ["postgres", "perps", "perps_reader"])
def test_a_wrong_password_and_none_are_refused(cluster: Cluster, role: str) -> None:
    right = cluster.database(role)
    with pytest.raises(DatabaseError, match="password authentication failed"):
        replace(right, password="wrong").connect()
    env = {"PATH": os.environ["PATH"], "PGPASSFILE": "/dev/null"} | replace(right, password="").env()
    done = run_program([str(cluster.program("psql")), "-Xwc", "select 1"], env)
    assert done.returncode == 2
    assert "no password supplied" in done.stderr


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")])
def test_no_address_but_loopback_answers(cluster: Cluster, family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family) as probe, pytest.raises(OSError):
        probe.connect((host, cluster.database().port))


def test_passwords_are_long_differ_and_show_up_in_no_log_and_no_process(cluster: Cluster) -> None:
    roles = ("postgres", "perps", "perps_reader")
    secrets = {cluster.database(role).password for role in roles}
    assert len(secrets) == 3
    assert min(map(len, secrets)) >= 24
    log = (cluster.data / "pgdata/server.log").read_text(errors="replace")
    seen = [log, repr(cluster.database()), repr(cluster.status())]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            seen.append((process / "cmdline").read_text(errors="replace"))
    assert not [secret for secret in secrets if any(secret in text for text in seen)]


def test_passwords_and_data_are_closed_to_others(cluster: Cluster) -> None:
    def mode(name: str) -> int:
        return (cluster.data / name).stat().st_mode & 0o777

    assert mode("connection.json") == 0o600
    assert mode("pgdata") == 0o700
    assert mode(".") & 0o066 == 0
    assert not (cluster.data / ".initdb").exists()


# --- starting and stopping


def test_a_second_start_leaves_the_running_server_alone(cluster: Cluster) -> None:
    before = cluster.status()
    assert cluster.start() == cluster.database()
    assert cluster.start(port=1) == cluster.database()
    assert cluster.status() == before


def test_a_long_log_of_a_running_server_is_set_aside(cluster: Cluster) -> None:
    log = cluster.data / "pgdata/server.log"
    with log.open("a") as out:
        out.write("x" * 10_000_000)
    cluster.start()
    assert log.stat().st_size < 1_000_000
    execute(cluster.database(), "do $$ begin raise log 'still written'; end $$")
    assert "still written" in log.read_text()
    assert (cluster.data / "pgdata/server.log.1").stat().st_size > 10_000_000


def test_stopping_and_starting_keeps_rows_passwords_and_port(own_cluster: Cluster) -> None:
    candles(own_cluster.database(), 1000)
    before = own_cluster.database()
    own_cluster.stop()
    own_cluster.stop()
    status = own_cluster.status()
    assert (status.running, status.pid) == (False, None)
    assert status.edition == "apache"
    with pytest.raises(DatabaseError):
        before.connect()
    assert own_cluster.start() == before
    assert execute(before, "select count(*) from candles") == [(1000,)]


def test_every_committed_row_survives_kill_9_of_the_postmaster(own_cluster: Cluster) -> None:
    candles(own_cluster.database(), 200_000)
    kill(own_cluster.status().pid)
    assert execute(own_cluster.start(), "select count(*), sum(close) from candles") == [
        (200_000, 19_999_900_000)
    ]


def test_a_start_that_was_killed_while_the_server_recovers_is_completed_by_the_next(
    own_cluster: Cluster,
) -> None:
    candles(own_cluster.database(), 400_000)
    kill(own_cluster.status().pid)
    wait_until(lambda: not own_cluster.status().running, "the postmaster's end")
    start = FORK.Process(target=own_cluster.start)
    kill_once(start, "a recovery under way", lambda: own_cluster.status().running)
    assert execute(own_cluster.start(), "select count(*) from candles") == [(400_000,)]


def test_a_process_number_that_now_belongs_to_another_program_does_not_stop_a_start(
    own_cluster: Cluster,
) -> None:
    own_cluster.stop()
    stranger = subprocess.Popen(["sleep", "60"], **Account.for_server().options())
    try:
        lock = own_cluster.data / "pgdata/postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{own_cluster.data}/pgdata\n")
        lock.chmod(0o644)
        assert not own_cluster.status().running
        assert execute(own_cluster.start(), "select 1") == [(1,)]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_interrupted_initdb_is_begun_again() -> None:
    with open_folder() as folder:
        cluster = Cluster(folder / "data")
        start = FORK.Process(target=cluster.start)
        kill_once(start, "an initdb under way", (folder / "data/pgdata.new").exists)
        try:
            assert execute(cluster.start(), "select 1") == [(1,)]
            assert not (folder / "data/pgdata.new").exists()
        finally:
            cluster.destroy()


def test_two_starts_at_once_both_succeed_with_one_server() -> None:
    with open_folder() as folder:
        cluster = Cluster(folder / "data")
        both = [FORK.Process(target=cluster.start) for _ in range(2)]
        try:
            for process in both:
                process.start()
            for process in both:
                process.join(120)
            assert [process.exitcode for process in both] == [0, 0]
            assert execute(cluster.database(), "select 1") == [(1,)]
        finally:
            cluster.destroy()


def test_a_port_taken_in_the_meantime_is_replaced_and_one_asked_for_is_an_error(own_cluster: Cluster) -> None:
    old = own_cluster.database().port
    own_cluster.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", old))
        taken.listen()
        with pytest.raises(PerpsError, match=f"port {old} is in use"):
            own_cluster.start(port=old)
        connection = own_cluster.start()
    assert connection.port != old
    assert execute(connection, "select 1") == [(1,)]


def test_data_of_an_older_timescaledb_is_updated_at_start(own_cluster: Cluster) -> None:
    own_cluster.create_database("demo")
    own_cluster.stop()
    file = own_cluster.data / "connection.json"
    version = own_cluster.status().timescaledb_version
    file.write_text(file.read_text().replace(f'"{version}"', '"2.0.0"'))
    own_cluster.start()
    assert f'"timescaledb": "{version}"' in file.read_text()
    assert execute(own_cluster.database(dbname="demo"), "select 1") == [(1,)]


def test_destroying_deletes_data_and_passwords_and_keeps_the_packages() -> None:
    with started() as cluster:
        pid = cluster.status().pid
        cluster.destroy()
        assert not cluster.status().running
        assert not Path(f"/proc/{pid}/cwd").exists()
        assert {path.name for path in cluster.data.iterdir()} <= {".lock", ".server"}
        assert cluster.program("psql").exists()
        cluster.destroy()
        assert execute(cluster.start(), "select 1") == [(1,)]


def test_data_without_its_passwords_is_not_overwritten(own_cluster: Cluster) -> None:
    own_cluster.stop()
    (own_cluster.data / "connection.json").unlink()
    with pytest.raises(PerpsError, match=r"connection\.json, with the server.s passwords, is missing"):
        own_cluster.start()
    assert (own_cluster.data / "pgdata/PG_VERSION").exists()


# --- as somebody else


def started_as(uid: int, gid: int, home: Path, cache: Path) -> Any:
    """Start a server as an ordinary user, in a process and a home of its own; return what it told."""
    os.chown(home, uid, gid)
    home.chmod(0o700)
    answers = FORK.Queue()
    child = FORK.Process(target=_start_as, args=(uid, gid, home, cache, answers))
    child.start()
    answer = answers.get(timeout=120)
    child.join(60)
    return answer


def _start_as(uid: int, gid: int, home: Path, cache: Path, answers: Any) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    for name in [name for name in os.environ if name.startswith(("XDG_", "PERPS_", "PG"))]:
        del os.environ[name]
    os.environ["HOME"] = str(home)
    cluster = Cluster(cache=cache)
    try:
        connection = cluster.start()
        candles(connection, 10)
        owner = Path(f"/proc/{cluster.status().pid}").stat().st_uid
        answers.put(
            (execute(connection, "select count(*) from candles"), owner, cluster.data, default_data())
        )
    except BaseException as error:
        answers.put(repr(error))
    finally:
        cluster.destroy()


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here already runs as an ordinary user")
def test_an_ordinary_user_starts_a_server_from_a_cache_it_cannot_write(cluster: Cluster) -> None:
    nobody = pwd.getpwnam("nobody")
    with open_folder() as home:
        answer = started_as(nobody.pw_uid, nobody.pw_gid, home, cluster.status().cache)
        data = home / ".local/share/perps/server"
        assert answer == ([(10,)], nobody.pw_uid, data, data)
        assert data.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a uid without a name")
def test_an_account_without_a_name_is_told_so_in_one_line(cluster: Cluster) -> None:
    with open_folder() as home:
        answer = started_as(54321, 54321, home, cluster.status().cache)
        assert "uid 54321" in answer
        assert "docker/compose.yml" in answer


# --- a host that cannot embed


def test_an_index_that_debian_did_not_sign_installs_nothing() -> None:
    with open_folder() as folder:
        for suite in ("debian/dists/trixie", "debian-security/dists/trixie-security"):
            (folder / "mirror" / suite).mkdir(parents=True)
            (folder / "mirror" / suite / "InRelease").write_text("Origin: Debian\nCodename: trixie\n")
        cluster = Cluster(folder / "data", folder / "cache", mirror=f"file://{folder}/mirror")
        with pytest.raises(PerpsError, match="signed by Debian") as caught:
            cluster.start()
        assert "\n" not in str(caught.value)
        assert {path.name for path in (folder / "cache").iterdir()} == {".timescaledb-17.lock"}
        assert not cluster.data.exists()


def test_without_network_and_packages_one_line_names_the_other_ways() -> None:
    with open_folder() as folder:
        with pytest.raises(PerpsError) as caught:
            Cluster(folder / "data", folder / "cache", mirror="http://127.0.0.1:1").start()
        line = str(caught.value)
        for way in ("http://127.0.0.1:1/debian", "PERPS_DEBIAN_MIRROR", "docker/compose.yml", "PGHOST"):
            assert way in line
        assert "\n" not in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another account")
def test_root_is_told_when_the_servers_account_cannot_reach_the_folders(cluster: Cluster) -> None:
    with open_folder() as folder:
        (folder / "closed").mkdir(mode=0o700)
        with pytest.raises(PerpsError, match=r"uid .*, which runs the server, cannot use"):
            Cluster(folder / "closed/data").start()
        with pytest.raises(PerpsError, match=r"uid .*, which runs the server, cannot enter"):
            Cluster(folder / "data", folder / "closed/cache").start()
