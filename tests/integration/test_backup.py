"""The move to another embedded server: everything arrives, and a run goes on where the old one stopped."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from extract.server.cluster import Cluster
from extract.server.connection import Connection
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.conftest import Perps
from tests.integration.truth import control, rows, table, truth

BTC = "BTC-PERPETUAL"
START, MOVED, END = "2024-01-01T00:00:00Z", "2024-01-01T06:00:30Z", "2024-01-01T08:00:30Z"
BUILD = ("dbt", "--", "build", "--exclude", "resource_type:test", "resource_type:unit_test")

TABLES = """
select format('%I.%I', schemas.nspname, relname)
from pg_class
inner join pg_namespace as schemas on schemas.oid = relnamespace
where schemas.nspname in ('public', 'quality', 'deribit_raw', 'staging')
    and relkind = 'r'  -- views have a clock in them
    and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')
order by 1
"""
CHECKSUM = "select count(*), sum(hashtextextended(content::text, 0)) from {} as content"
SHAPE = {
    "owners and grants": """
        select relname, relkind, pg_get_userbyid(relowner), relacl::text from pg_class
        where relnamespace::regnamespace::text = any(%s) order by 1, 2
    """,
    "views": "select viewname, definition from pg_views where schemaname = any(%s) order by 1",
    "indexes": "select tablename, indexdef from pg_indexes where schemaname = any(%s) order by 1, 2",
    "comments": """
        select relname, objsubid, description from pg_description
        inner join pg_class on pg_class.oid = objoid and classoid = 'pg_class'::regclass
        where relnamespace::regnamespace::text = any(%s) order by 1, 2
    """,
    "hypertables": """
        select hypertable_name, owner, num_chunks from timescaledb_information.hypertables
        where hypertable_schema = any(%s) order by 1
    """,
    "chunks": """
        select hypertable_name, is_compressed, range_start, range_end from timescaledb_information.chunks
        where hypertable_schema = any(%s) order by 1, 3
    """,
    "policies": """
        select hypertable_name, proc_name, owner::text, schedule_interval, scheduled, config::text
        from timescaledb_information.jobs
        where hypertable_schema = any(%s) order by 1, 2
    """,
    "schemas": "select nspname, nspowner::regrole::text from pg_namespace where nspname = any(%s) order by 1",
    "default privileges": """
        select defaclobjtype, defaclacl::text from pg_default_acl where %s is not null order by 1
    """,
}
SCHEMAS = ["public", "quality", "deribit_raw", "staging"]
CLAIMS = "select model, load_id, claimed_by::text, follows::text from quality.consumed_loads order by 1, 2"


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock=MOVED, requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="perps-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def database(
    server: Cluster, module_database: Connection, exchange: RunningSimulator, perps: Perps
) -> Connection:
    """Six hours, loaded and built."""
    for command in (("backfill", "--instruments", BTC, "--start", START), BUILD):
        done = perps(*command, database=module_database, api=exchange.base_url)
        assert done.returncode == 0, done.stdout + done.stderr
    return module_database


@pytest.fixture(scope="module")
def file(database: Connection, folder: Path, perps: Perps) -> Path:
    path = folder / "perps.dump"
    done = perps("db", "backup", str(path), "--database", database.dbname)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def elsewhere(folder: Path, cache: Path) -> Iterator[Cluster]:
    """Another server, as young as can be: its transactions get numbers that the old ones had."""
    cluster = Cluster(folder / "server", cache)
    cluster.start()
    yield cluster
    cluster.destroy()


@pytest.fixture(scope="module")
def there(perps: Perps, folder: Path) -> Callable[..., object]:
    """`perps` on that server."""
    return partial(perps, env={"PERPS_HOME": str(folder)})


@pytest.fixture(scope="module")
def moved(elsewhere: Cluster, there: Perps, file: Path) -> Connection:
    done = there("db", "restore", str(file))
    assert done.returncode == 0, done.stderr
    return elsewhere.connection()


def content(database: Connection) -> dict[str, object]:
    """Return what a database holds: a checksum of each table, in whatever order, and all around them."""
    found: dict[str, object] = {name: rows(database, query, SCHEMAS) for name, query in SHAPE.items()}
    return found | {name: rows(database, CHECKSUM.format(name)) for (name,) in rows(database, TABLES)}


def names(cluster: Cluster) -> list[str]:
    return [
        name
        for (name,) in rows(cluster.connection("postgres", "postgres"), "select datname from pg_database")
    ]


def test_a_backup_is_for_its_owner_alone_and_leaves_no_part(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(file.parent.glob("*.part"))


def test_a_broken_file_leaves_no_database(file: Path, folder: Path, elsewhere: Cluster, there: Perps) -> None:
    broken = folder / "broken.dump"
    whole = file.read_bytes()
    last_rows = whole.rindex(b"\x78\x9c") + 2  # zlib's mark: the file's contents can be read, and most tables
    broken.write_bytes(whole[:last_rows] + b"\xff" * 20 + whole[last_rows + 20 :])
    done = there("db", "restore", str(broken), "--database", "other")
    assert done.returncode == 1
    assert "error: expected to restore all of" in done.stderr
    assert not {"other", "other_restoring"} & set(names(elsewhere))


def test_a_file_of_something_else_is_refused(folder: Path, there: Perps) -> None:
    foreign = folder / "foreign.dump"
    foreign.write_text("select 1;")
    done = there("db", "restore", str(foreign), "--database", "other")
    assert done.returncode == 1
    assert "error: expected a file of `perps db backup`" in done.stderr


def test_everything_arrives(database: Connection, moved: Connection) -> None:
    expected = content(database)
    assert len(rows(database, TABLES)) >= 15
    hypertables = [name for name, *_ in expected["hypertables"]]
    assert [name for name in hypertables if "ohlcv_" not in name] == ["candles", "perpetuals_ohlcv"]
    assert len(hypertables) == 8, hypertables  # six are rollups
    # the build compresses what is old, where the edition can
    edition = rows(database, "select current_setting('timescaledb.license')")
    compressed = [is_compressed for _, is_compressed, *_ in expected["chunks"]]
    assert compressed == [edition == [("timescale",)]] * 8
    assert content(moved) == expected


def test_a_database_with_tables_is_not_restored_over(moved: Connection, there: Perps, file: Path) -> None:
    before = content(moved)
    done = there("db", "restore", str(file))
    assert done.returncode == 1
    assert "without tables" in done.stderr
    assert content(moved) == before


def test_the_reader_reads_and_locks_nothing(elsewhere: Cluster, moved: Connection) -> None:
    reader = elsewhere.connection("perps_reader")
    assert rows(reader, "select count(*) from perpetuals_ohlcv") == [(360,)]
    assert rows(reader, "select has_function_privilege('pg_advisory_lock(bigint)', 'execute')") == [(False,)]
    assert rows(moved, "select has_function_privilege('pg_advisory_lock(bigint)', 'execute')") == [(True,)]


def test_a_run_goes_on_and_no_claim_of_the_old_server_is_taken_for_one_of_the_new(
    exchange: RunningSimulator, moved: Connection, there: Perps, folder: Path
) -> None:
    before = {(model, load): (claim, follows) for model, load, claim, follows in rows(moved, CLAIMS)}
    followers = {key: follows for key, (_, follows) in before.items() if follows}
    assert {model for model, _ in followers} >= {"ohlcv_days", "ohlcv_revisions"}
    stale = ("ohlcv_revisions", min(load for _, load in before))
    run(moved, "update quality.consumed_loads set follows = '77' where model = %s and load_id = %s", *stale)
    done = there("dbt", "--", "seed", database=moved)
    assert done.returncode == 0, done.stdout
    after = {
        (model, load): (int(claim), follows and int(follows))
        for model, load, claim, follows in rows(moved, CLAIMS)
    }
    # numbers that no transaction of a server will ever have
    assert all(claim >= 2**63 for claim, _ in after.values())
    claims = {load: {claim for (_, other), (claim, _) in after.items() if other == load} for _, load in after}
    followed = {key for key, (_, follows) in after.items() if follows in claims[key[1]]}
    assert followed == set(followers) - {stale}
    assert after[stale][1] == 0

    control(exchange.base_url, "clock", {"now": END})
    for command in (("update",), BUILD):
        done = there(*command, database=moved, api=exchange.base_url)
        assert done.returncode == 0, done.stdout + done.stderr
    assert table(moved) == truth(exchange.base_url, BTC, START, "2024-01-01T08:00:00Z")
    assert rows(moved, "select count(distinct load_id) from quality.consumed_loads") == [(2,)]
    # what had not been followed was followed by the build
    followed = f"{CLAIMS_OF} where model = '{stale[0]}' and load_id = '{stale[1]}'"
    assert [int(follows) >= 2**63 for _, follows in rows(moved, followed)] == [True]


CLAIMS_OF = "select claimed_by::text, follows::text from quality.consumed_loads"


def run(database: Connection, statement: str, *values: object) -> None:
    opened = database.connect()
    with opened.cursor() as cursor:
        cursor.execute(statement, values)
    opened.close()
