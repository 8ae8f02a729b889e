"""`perps doctor`: a sound place is all OK, and each thing that is broken is named by its line, once."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from extract.database import locks
from extract.database.database import Database
from extract.doctor import machine
from extract.doctor.lines import Line, attempt
from extract.embedded.cluster import Cluster
from extract.simulator import RunningSimulator
from tests.support.perps import Perps, Result, error_line, expect
from tests.support.proxy import Proxy, proxied
from tests.support.truth import execute

NOWHERE = "http://127.0.0.1:9/api/v2"
AFTER_THE_DATABASE = "extension, rights, pooler, loads, disk of tables, newest candle"
ANNOUNCE = "insert into deribit_raw._dlt_loads (load_id, status, inserted_at) values ('{}', {}, now());"
LATE = f"{time.time() + 86_400:.6f}"


@pytest.fixture(scope="module")
def place(module_database: Database, exchange: RunningSimulator, perps: Perps) -> Database:
    """An hour of one perpetual, up to now, loaded and built."""
    start = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M}"
    backfill = ("backfill", "--instruments", "BTC-PERPETUAL", "--start", start)
    build = ("dbt", "--", "--quiet", "run", "--select", "+perpetuals_ohlcv")
    for command in (backfill, build):
        expect(perps(*command, database=module_database, api=exchange.base_url))
    return module_database


@pytest.fixture
def look(perps: Perps, place: Database, exchange: RunningSimulator) -> Perps:
    return partial(perps, "doctor", database=place, api=exchange.base_url)


def lines(done: Result) -> dict[str, tuple[str, str]]:
    """Return status and text by subject."""
    assert "Traceback" not in done.stderr
    return {line[8:26].strip(): (line[:7].strip(), line[27:]) for line in done.stdout.splitlines()}


def odd(done: Result) -> dict[str, tuple[str, str]]:
    """Return the lines that are not OK."""
    return {subject: line for subject, line in lines(done).items() if line[0] != "OK"}


def statuses(done: Result) -> dict[str, str]:
    """Return the status of each line that is not OK."""
    return {subject: status for subject, (status, _) in odd(done).items()}


def test_in_a_sound_place_all_is_ok_and_nothing_is_written(
    look: Perps, place: Database, server: Cluster
) -> None:
    administrator = server.database("postgres", "postgres")
    execute(administrator, f"alter database {place.dbname} set default_transaction_read_only = on")
    try:
        done = look(alone=True)
    finally:
        execute(administrator, f"alter database {place.dbname} reset default_transaction_read_only")
    assert (done.returncode, done.stderr, odd(done)) == (0, "", {})
    assert list(lines(done)) == [
        *("versions", "request budget", "disk of loads", "proxy, certificate", "api", "clock", "database"),
        *("extension", "rights", "pooler", "loads", "disk of tables", "newest candle"),
    ]
    assert "edition apache" in lines(done)["extension"][1]


def test_the_embedded_server_is_found_and_its_disk_looked_at(
    perps: Perps, server: Cluster, exchange: RunningSimulator
) -> None:
    found = lines(perps("doctor", api=exchange.base_url))
    assert found["database"][1].endswith("/perps as perps, the embedded server")
    assert f"GB free for {server.data}, " in found["disk of tables"][1]


def test_a_server_that_is_not_there_is_not_made(
    perps: Perps, exchange: RunningSimulator, tmp_path: Path
) -> None:
    env = {"PERPS_HOME": str(tmp_path / "home"), "PERPS_CACHE": str(tmp_path / "cache")}
    done = perps("doctor", api=exchange.base_url, env=env)
    assert done.returncode == 0
    assert statuses(done) == {"database": "LOOK", "no database": "LOOK"}
    assert "perps db start" in odd(done)["database"][1]
    assert [path.name for path in tmp_path.glob("*/*")] == ["logs"]


def test_an_api_that_cannot_be_reached_is_wrong_and_named_once(look: Perps) -> None:
    done = look(api=NOWHERE)
    assert "problems found: api;" in error_line(done)
    assert statuses(done) == {"api": "WRONG", "no api": "LOOK"}
    assert "check the network" in odd(done)["api"][1]


def test_a_database_that_is_down_is_wrong_and_named_once(look: Perps, place: Database) -> None:
    done = look(database=replace(place, port=9))
    assert done.returncode == 1
    assert statuses(done) == {"database": "WRONG", "no database": "LOOK"}
    assert "Connection refused" in odd(done)["database"][1]
    assert AFTER_THE_DATABASE in odd(done)["no database"][1]
    assert place.password not in done.stdout + done.stderr


def test_where_nobody_answers_it_says_so_after_five_seconds(look: Perps, place: Database) -> None:
    with proxied(place) as (silent, through):
        silent.deaf = True
        api = Proxy((place.host, place.port), deaf=True)
        try:
            done = look(database=through, api=f"http://127.0.0.1:{api.start()}/api/v2", alone=True)
        finally:
            api.stop()
    assert done.returncode == 1
    assert {subject: text.split(";")[0] for subject, (_, text) in odd(done).items()} == {
        "api": "no answer within 5 s",
        "no api": "not checked: clock",
        "database": "no answer within 5 s",
        "no database": f"not checked: {AFTER_THE_DATABASE}",
    }


def test_a_role_without_rights_is_told_what_to_be_given(
    look: Perps, place: Database, server: Cluster
) -> None:
    administrator = server.database("postgres", "postgres")
    connect = f"connect on database {place.dbname}"
    execute(administrator, f"create role eve login password 'of-eve'; grant {connect} to eve")
    try:
        done = look(database=replace(place, user="eve", password="of-eve"))
    finally:
        execute(administrator, f"revoke {connect} from eve; drop role eve")
    assert done.returncode == 1
    status, text = odd(done)["rights"]
    assert (status, f'grant create on database "{place.dbname}" to "eve"; ' in text) == ("WRONG", True)


def test_a_database_without_the_extension_is_told_once(look: Perps, server: Cluster) -> None:
    done = look(database=server.database("postgres", "postgres"))
    assert statuses(done).items() >= {"extension": "WRONG", "rights": "LOOK"}.items()
    assert "create extension timescaledb" in odd(done)["extension"][1]


@pytest.mark.parametrize(
    ("variable", "value"), [("REQUESTS_CA_BUNDLE", "/nowhere.pem"), ("HTTPS_PROXY", "ftp://proxy:1")]
)
def test_a_variable_of_the_network_that_cannot_be_right_is_named(
    variable: str, value: str, look: Perps
) -> None:
    done = look(api="https://www.deribit.invalid/api/v2", env={variable: value, "NO_PROXY": ""})
    assert done.returncode == 1
    status, text = odd(done)["proxy, certificate"]
    assert (status, variable in text) == ("WRONG", True)
    assert odd(done)["no api"][0] == "LOOK"


@pytest.mark.parametrize(
    ("hours", "names"), [(0.1, ["clock"]), (2, ["clock", "newest candle"]), (-2, ["clock", "newest candle"])]
)
def test_a_clock_that_is_off_and_candles_that_are_old_or_of_later_are_worth_a_look(
    hours: float, names: list[str], look: Perps, exchange: RunningSimulator
) -> None:
    ahead_ms = int(hours * 3_600_000)
    exchange.simulator.clock.advance(ahead_ms)
    try:
        done = look()
    finally:
        exchange.simulator.clock.advance(-ahead_ms)
    assert (done.returncode, list(odd(done))) == (0, names)
    seconds, _, where = odd(done)["clock"][1].split()[:3]
    assert float(seconds.replace(",", "")) == pytest.approx(abs(hours) * 3600, abs=3)
    assert where == ("behind" if hours > 0 else "ahead")
    assert hours > 0 or "ahead of the clock" in odd(done)["newest candle"][1]


@pytest.mark.parametrize(("kind", "lock"), [("load", locks.LOCK), ("build", locks.BUILD_LOCK)])
def test_a_lock_that_is_held_is_named_with_its_session(
    kind: str, lock: tuple[int, int], look: Perps, place: Database
) -> None:
    with locks.run_lock(place, lock) as held:
        session = held.info.backend_pid
        done = look()
    status, text = odd(done)["loads"]
    assert (done.returncode, status) == (0, "LOOK")
    assert text.startswith(f"a {kind} has the lock")
    assert f"session {session} " in text


@pytest.mark.parametrize(
    ("damage", "mend", "status", "subject", "said"),
    [
        (
            ANNOUNCE.format(1, 1),
            "delete from deribit_raw._dlt_loads where load_id = '1'",
            *("LOOK", "loads", "1 load unfinished"),
        ),
        (
            ANNOUNCE.format(LATE, 1) + ANNOUNCE.format(LATE, 0),
            f"delete from deribit_raw._dlt_loads where load_id = '{LATE}'",
            *("WRONG", "loads", "clock"),
        ),
        (
            "update deribit_raw.fetches set origin = 'testnet'",
            "update deribit_raw.fetches set origin = 'simulator'",
            *("WRONG", "newest candle", "this database holds testnet candles"),
        ),
    ],
    ids=["a load that was killed", "a load of tomorrow", "candles of another exchange"],
)
def test_what_is_odd_about_loads_is_said(damage, mend, status, subject, said, look, place) -> None:
    execute(place, damage)
    try:
        done = look()
    finally:
        execute(place, mend)
    assert done.returncode == (status == "WRONG")
    assert statuses(done) == {subject: status}
    assert said in odd(done)[subject][1]


def test_a_budget_above_what_is_documented_is_worth_a_look(look: Perps) -> None:
    done = look(env={"DERIBIT_REQUESTS_PER_SECOND": "50"})
    assert (done.returncode, list(odd(done))) == (0, ["request budget"])


def test_packages_and_disks_have_bounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "version", lambda _: "0.0.1")
    found = machine.versions()
    assert (found.status, "dlt 0.0.1" in found.found) == ("WRONG", True)
    for free, status in ((1e8, "WRONG"), (1e9, "LOOK"), (1e10, "OK")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert machine.free_disk("disk", tmp_path / "not" / "yet").status == status


def test_a_check_that_breaks_is_a_line() -> None:
    def breaks() -> Line:
        raise ZeroDivisionError("nobody thought\nof it")

    line = str(attempt("thing", breaks))
    assert line.split()[:2] == ["WRONG", "thing"]
    assert "ZeroDivisionError: nobody thought of it" in line
