"""The move to another embedded server: everything arrives, and a run goes on where the old one stopped."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.embedded.cluster import Cluster
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, set_clock
from tests.support.perps import Perps, error_line, expect
from tests.support.truth import rows, table, truth

START, MOVED, END = "2024-01-01T00:00:00Z", "2024-01-01T06:00:30Z", "2024-01-01T08:00:30Z"
EXCHANGE = {"clock": MOVED}
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
    # a list of or comes back with fewer brackets
    "views": """
        select viewname, regexp_replace(definition, '[()\\s]', '', 'g') from pg_views
        where schemaname = any(%s) order by 1
    """,
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
MARKS = "select relation, read_to, changed_to, has_rows from quality.watermarks order by 1"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="perps-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def database(
    server: Cluster, module_database: Database, exchange: RunningSimulator, perps: Perps
) -> Database:
    """Six hours, loaded and built."""
    upkeep = ("dbt", "--", "run-operation", "upkeep")
    for command in (("backfill", "--instruments", BTC, "--start", START), BUILD, upkeep):
        expect(perps(*command, database=module_database, api=exchange.base_url))
    return module_database


@pytest.fixture(scope="module")
def file(database: Database, folder: Path, perps: Perps) -> Path:
    path = folder / "perps.dump"
    expect(perps("db", "backup", str(path), "--database", database.dbname))
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
def moved(elsewhere: Cluster, there: Perps, file: Path) -> Database:
    expect(there("db", "restore", str(file)))
    return elsewhere.database()


def content(database: Database) -> dict[str, object]:
    """Return what a database holds: a checksum of each table, in whatever order, and all around them."""
    found: dict[str, object] = {name: rows(database, query, SCHEMAS) for name, query in SHAPE.items()}
    return found | {name: rows(database, CHECKSUM.format(name)) for (name,) in rows(database, TABLES)}


def names(cluster: Cluster) -> list[str]:
    found = rows(cluster.database("postgres", "postgres"), "select datname from pg_database")
    return [name for (name,) in found]


def test_a_backup_is_for_its_owner_alone_and_leaves_no_part(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(file.parent.glob("*.part"))


def test_a_broken_file_leaves_no_database(file: Path, folder: Path, elsewhere: Cluster, there: Perps) -> None:
    broken = folder / "broken.dump"
    whole = file.read_bytes()
    last_rows = whole.rindex(b"\x78\x9c") + 2  # zlib's mark: the file's contents can be read, and most tables
    broken.write_bytes(whole[:last_rows] + b"\xff" * 20 + whole[last_rows + 20 :])
    assert "broken.dump" in error_line(there("db", "restore", str(broken), "--database", "other"))
    assert not {"other", "other_restoring"} & set(names(elsewhere))


def test_a_file_of_something_else_is_refused(folder: Path, there: Perps) -> None:
    foreign = folder / "foreign.dump"
    foreign.write_text("select 1;")
    assert "perps db backup" in error_line(there("db", "restore", str(foreign), "--database", "other"))


def test_everything_arrives(database: Database, moved: Database) -> None:
    expected = content(database)
    assert len(rows(database, TABLES)) >= 15
    hypertables = {name for name, *_ in expected["hypertables"]}
    assert hypertables >= {"candles", "perpetuals_ohlcv", "perpetuals_ohlcv_1d", "ohlcv_candle_days"}
    compressed = {is_compressed for name, is_compressed, *_ in expected["chunks"] if "ohlcv" in name}
    assert has_columnstore(database) in compressed
    arrived = content(moved)
    for name in expected:
        assert arrived[name] == expected[name], name


def test_the_variables_that_name_the_embedded_server_do_not_make_it_another(
    elsewhere: Cluster, moved: Database, there: Perps, tmp_path: Path
) -> None:
    named = elsewhere.create_database("other")
    ours = partial(there, env={"PERPS_HOME": str(elsewhere.data.parent)}, database=named)
    for command in (("db", "status"), ("db", "backup", str(tmp_path / "file")), ("db", "start")):
        done = ours(*command)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert "wrote other to" in ours("db", "backup", str(tmp_path / "file")).stdout
    assert "export PGUSER=perps_reader" in ours("db", "env", "--reader").stdout
    ours("db", "stop")
    assert "does not run" in ours("doctor").stdout
    assert "the dbt models" in error_line(ours("report"))  # and it runs again
    assert ours("db", "status").returncode == 0


def test_a_database_with_tables_is_not_restored_over(moved: Database, there: Perps, file: Path) -> None:
    before = content(moved)
    assert "without tables" in error_line(there("db", "restore", str(file)))
    assert content(moved) == before


def test_the_reader_reads_and_locks_nothing(elsewhere: Cluster, moved: Database) -> None:
    reader = elsewhere.database("perps_reader")
    assert rows(reader, "select count(*) from perpetuals_ohlcv") == [(360,)]
    assert rows(reader, "select has_function_privilege('pg_advisory_lock(bigint)', 'execute')") == [(False,)]
    assert rows(moved, "select has_function_privilege('pg_advisory_lock(bigint)', 'execute')") == [(True,)]


def test_a_run_goes_on_where_the_old_server_stopped_and_writes_no_row_again(
    exchange: RunningSimulator, database: Database, moved: Database, there: Perps
) -> None:
    assert rows(moved, MARKS) == rows(database, MARKS)
    written = 'select "timestamp", xmin::text, ctid::text from perpetuals_ohlcv order by 1'
    compressed = has_columnstore(moved)  # such rows have neither
    before = [] if compressed else rows(moved, written)
    expect(there(*BUILD, database=moved))
    assert rows(moved, MARKS) == rows(database, MARKS), "a load was read again"

    set_clock(exchange, END)
    for command in (("update",), BUILD):
        expect(there(*command, database=moved, api=exchange.base_url))
    assert table(moved) == truth(exchange.base_url, BTC, START, "2024-01-01T08:00:00Z")
    assert compressed or rows(moved, written)[: len(before)] == before
    newest = "select max(load_id::numeric) from deribit_raw._dlt_loads"
    assert rows(moved, "select distinct read_to from quality.watermarks") == rows(moved, newest)


def has_columnstore(database: Database) -> bool:
    return rows(database, "show timescaledb.license") == [("timescale",)]
