"""Candles read and exported are those of the table: exact, in UTC, sorted, whole or not at all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from extract import read_candles
from extract.database.database import Database
from extract.errors import PerpsError, UsageError
from extract.simulator import RunningSimulator, SimulatorConfig, running
from tests.faults.test_disk_full import mounted
from tests.support.perps import perps_command, perps_environment
from tests.support.truth import rows

BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
VALUES = ("open", "high", "low", "close", "volume")
NAMES = ("timestamp", "instrument", *VALUES)
RANGE = ("--start", "2024-01-31T12:00", "--end", "2024-02-01T12:00")
WITHIN = "\"timestamp\" >= '2024-01-31 12:00Z' and \"timestamp\" < '2024-02-01 12:00Z'"
ANYTHING = "true"
STALL_BYTES = 9_000_000
"""After all of BTC, before the end of ETH: January of one is 4.5 MB."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock="2024-02-18T00:00:30Z", requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture
def reachable(loaded: Database, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Database:
    """The loaded database is the one that this process's variables name."""
    for name, value in perps_environment(environment, loaded).items():
        monkeypatch.setenv(name, value)
    return loaded


def held(database: Database, where: str = WITHIN, table: str = "", more: str = "") -> list[tuple[Any, ...]]:
    """Return what the table has, as psycopg2 reads it, in the order of an export."""
    columns = f"\"timestamp\" at time zone 'UTC', {', '.join(NAMES[1:])}{more}"
    query = f"select {columns} from perpetuals_ohlcv{table} where {where}"
    found = rows(database, f'{query} order by instrument collate "C", "timestamp"')
    return [(at.replace(tzinfo=UTC), *values) for at, *values in found]


def utc(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows with Python's own types; a time that is not UTC, or has no zone, does not pass."""
    assert {type(row[0]) for row in found} <= {datetime, pd.Timestamp}
    assert all(row[0].utcoffset() == timedelta(0) for row in found)
    assert {type(value) for row in found for value in row[2:7]} == {Decimal}
    return [(datetime.fromtimestamp(row[0].timestamp(), UTC), *row[1:]) for row in found]


def from_pandas(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in frame.itertuples(index=False)]


def by_pandas(path: Path) -> list[tuple[Any, ...]]:
    if path.suffix == ".csv":
        exact = dict.fromkeys(VALUES, Decimal)
        return from_pandas(pd.read_csv(path, parse_dates=["timestamp"], converters=exact))
    return from_pandas(pd.read_parquet(path)[list(NAMES)])


def by_polars(path: Path) -> list[tuple[Any, ...]]:
    if path.suffix == ".csv":
        types = {name: pl.Decimal(18, 8) for name in VALUES}
        return pl.read_csv(path, try_parse_dates=True, schema_overrides=types).rows()
    files = f"{path}/**/*.parquet" if path.is_dir() else path
    return pl.read_parquet(files, hive_partitioning=path.is_dir()).select(NAMES).rows()


def by_duckdb(path: Path) -> list[tuple[Any, ...]]:
    if path.suffix == ".csv":
        types = dict.fromkeys(VALUES, "decimal(18, 8)")
        found = duckdb.execute("from read_csv(?, types = ?)", [str(path), types])
    else:
        files = f"{path}/**/*.parquet" if path.is_dir() else str(path)
        found = duckdb.execute(f"select {', '.join(NAMES)} from read_parquet(?)", [files])
    assert [column[0] for column in found.description] == list(NAMES)
    return found.fetchall()


def error_of(ended: subprocess.CompletedProcess[str]) -> str:
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["candles.parquet", "candles.csv", "candles"])
def test_pandas_polars_and_duckdb_read_from_an_export_what_the_table_holds(name, loaded, perps, tmp_path):
    out = tmp_path / name
    ended = perps("export", *RANGE, "--out", str(out), database=loaded)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("2,880 candles in ")
    wanted = held(loaded)
    assert len(wanted) == 2880
    for read in (by_pandas, by_polars, by_duckdb):
        assert utc(read(out)) == wanted, read.__name__


def test_a_csv_file_has_numbers_as_postgresql_prints_them(loaded, perps, tmp_path):
    out = tmp_path / "candles.csv"
    day = ("--start", "2024-01-31", "--end", "2024-01-31T00:02")
    assert perps("export", "--instruments", BTC, *day, "--out", str(out), database=loaded).returncode == 0
    texts = ", ".join(f"{name}::text" for name in VALUES)
    query = (
        f"select {texts} from perpetuals_ohlcv where instrument = '{BTC}' and \"timestamp\" >= '2024-01-31Z'"
    )
    first, second = rows(loaded, f'{query} order by "timestamp" limit 2')
    assert out.read_text().splitlines() == [
        ",".join(NAMES),
        f"2024-01-31T00:00:00Z,{BTC},{','.join(first)}",
        f"2024-01-31T00:01:00Z,{BTC},{','.join(second)}",
    ]


def test_an_export_of_everything_is_sorted_over_months_and_instruments(loaded, perps, tmp_path):
    for name in ("all.parquet", "all"):
        assert perps("export", "--out", str(tmp_path / name), database=loaded).returncode == 0
        assert by_polars(tmp_path / name) == held(loaded, ANYTHING)
    assert files(tmp_path / "all") == [
        f"instrument={instrument}/month={month}/candles.parquet"
        for instrument in (BTC, ETH)
        for month in ("2024-01", "2024-02")
    ]


@pytest.mark.parametrize("resolution", ["5m", "15m", "1h", "4h", "1d", "1d_settlement"])
def test_a_rollup_is_read_with_its_own_columns(resolution, reachable):
    table = read_candles("all", "2024-01-31T12:00", "2024-02-01T12:00", resolution)
    wanted = held(reachable, table=f"_{resolution}", more=", candles, complete")
    assert [tuple(row.values()) for row in table.to_pylist()] == wanted
    assert table.schema.names == [*NAMES, "candles", "complete"]
    assert table.schema.field("volume").type == pa.decimal128(38, 8)


def test_a_rollup_is_exported(loaded, perps, tmp_path):
    for name, read in (("days.parquet", by_duckdb), ("days.csv", by_pandas), ("days", by_polars)):
        out = str(tmp_path / name)
        assert perps("export", "--resolution", "1d", "--out", out, database=loaded).returncode == 0
        frame = read(Path(out)) if name != "days.csv" else pd.read_csv(out)[["complete"]].values.tolist()
        assert len(frame) == len(held(loaded, ANYTHING, "_1d")) == 96
    complete = duckdb.execute("select complete, candles from read_parquet(?)", [f"{tmp_path}/days.parquet"])
    assert set(complete.fetchall()) == {(True, 1440)}


@pytest.mark.parametrize("return_type", ["arrow", "pandas", "polars"])
def test_candles_are_read_as_what_is_asked_for(return_type, reachable):
    found = read_candles([ETH, BTC], "2024-01-31T12:00", "2024-02-01T12:00", return_type=return_type)
    if return_type == "pandas":
        assert str(found.dtypes["timestamp"]) == "datetime64[us, UTC]"
        assert found.set_index("timestamp").groupby("instrument").close.resample("1h").last().shape == (48,)
        assert found.close.astype("float64").iloc[0] == float(found.close.iloc[0])
        values = from_pandas(found)
    elif return_type == "polars":
        assert found.schema["volume"] == pl.Decimal(18, 8)
        values = found.rows()
    else:
        assert found.schema.field("open").type == pa.decimal128(18, 8)
        values = [tuple(row.values()) for row in found.to_pylist()]
    assert utc(values) == held(reachable)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2024-01-05", "2024-01-05T00:03Z"),
        (date(2024, 1, 5), datetime(2024, 1, 5, 0, 3)),  # noqa: DTZ001  # without a zone it is UTC
        (
            datetime(2024, 1, 5, 8, tzinfo=timezone(timedelta(hours=8))),
            datetime(2024, 1, 5, 0, 3, tzinfo=UTC),
        ),
        (1_704_412_800_000, 1_704_412_980_000),
        (pd.Timestamp("2024-01-05", tz="UTC"), pd.Timestamp("2024-01-05 00:03")),
    ],
    ids=["text", "naive", "aware", "ms", "pandas"],
)
def test_the_start_is_part_of_a_range_and_the_end_is_not(start, end, reachable):
    found = read_candles(BTC, start, end).column("timestamp").to_pylist()
    assert found == [datetime(2024, 1, 5, 0, minute, tzinfo=UTC) for minute in range(3)]


def test_a_range_without_candles_is_an_empty_table_and_no_file(reachable, perps, tmp_path):
    assert read_candles("all", "2024-03-01").equals(read_candles("all", "2024-01-01").slice(0, 0))
    for name in ("none.parquet", "none.csv", "none"):
        ended = perps("export", "--start", "2024-03-01", "--out", str(tmp_path / name), database=reachable)
        assert ended.returncode == 1
        assert "expected candles between --start and --end, found none" in error_of(ended)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"instruments": "BTC-PERP"}, r"got BTC-PERP \(BTC-PERPETUAL\?\)"),
        ({"instruments": []}, "expected names of instruments, or all, got none"),
        ({"instruments": "all", "resolution": "1w"}, "expected a resolution of 1, 5m, 15m, 1h, 4h, 1d"),
        ({"instruments": "all", "start": "soon"}, "in start, such as 2024-01-01, .* got 'soon'"),
        ({"instruments": "all", "start": "2024-02-01", "end": "2024-01-01"}, "expected end after start"),
        ({"instruments": "all", "return_type": "json"}, "expected a return_type of arrow, pandas, polars"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_be_read_is_said(given, message, reachable):
    with pytest.raises(UsageError, match=message):
        read_candles(**given)


def test_a_package_that_is_missing_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(PerpsError, match=r"got none; run: pip install 'deribit-perps\[polars\]'"):
        read_candles("all", return_type="polars")


def test_importing_the_package_imports_neither_arrow_nor_a_driver():
    program = "import sys, extract; print(sorted({'pyarrow', 'psycopg2', 'pandas'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_a_database_without_models_says_what_to_run(database, perps, tmp_path):
    ended = perps("export", "--out", str(tmp_path / "x.csv"), database=database)
    assert ended.returncode == 1
    assert "expected the dbt models in the database, found none; run: perps dbt -- build" in error_of(ended)


def test_a_name_that_sql_would_obey_is_text(loaded, perps, tmp_path):
    hostile = "x' or \\'1=1--é"
    copy = (
        "insert into {0} select (jsonb_populate_record(found, jsonb_build_object('instrument', %s::text))).*"
        " from {0} as found where instrument = %s {1}"
    )
    with loaded.reading() as cursor:
        cursor.execute(copy.format("perpetuals_ohlcv", "order by timestamp limit 3"), [hostile, BTC])
        cursor.execute(copy.format("quality.ohlcv_candle_days", "order by day limit 1"), [hostile, BTC])
        try:
            for name in ("odd.parquet", "odd.csv", "odd"):
                ended = perps("export", "--out", str(tmp_path / name), database=loaded)
                assert ended.returncode == 0, ended.stderr
                found = by_duckdb(tmp_path / name)
                assert sum(row[1] == hostile for row in found) == 3
                assert len(found) == len(held(loaded, ANYTHING))
        finally:
            for table in ("perpetuals_ohlcv", "quality.ohlcv_candle_days"):
                cursor.execute(f"delete from {table} where instrument = %s", [hostile])


class Relay:
    """A TCP relay before a database, which stops passing on what comes after some bytes, until told."""

    def __init__(self, database: Database, stall_bytes: int) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.database = replace(database, port=self.server.getsockname()[1])
        self.behind = (database.host, database.port)
        self.left = stall_bytes
        self.stalled, self.go_on = threading.Event(), threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            server = socket.create_connection(self.behind)
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, counts: bool) -> None:
        with suppress(OSError):  # a side that was killed
            while data := one.recv(65536):
                self.left -= len(data) if counts else 0
                if self.left < 0:
                    self.stalled.set()
                    self.go_on.wait()
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def halfway(loaded: Database, environment: dict[str, str]) -> Callable[[Path], Any]:
    """`halfway(out)`: an export that has been stopped in the middle of its work, for a with block."""

    @contextmanager
    def begin(out: Path) -> Iterator[tuple[subprocess.Popen[str], Relay]]:
        relay = Relay(loaded, STALL_BYTES)
        process = subprocess.Popen(
            perps_command("export", "--out", str(out)),
            env=perps_environment(environment, relay.database),
            cwd=out.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert relay.stalled.wait(60)
            yield process, relay
        finally:
            process.kill()
            process.communicate()
            relay.go_on.set()
            relay.server.close()

    return begin


@pytest.mark.parametrize("name", ["candles.parquet", "candles.csv"])
def test_a_killed_export_leaves_the_file_that_was_there_and_the_next_one_tidies_up(
    name, halfway, loaded, perps, tmp_path
):
    out = tmp_path / name
    with halfway(out) as (process, _):
        assert any(path.stat().st_size for path in tmp_path.iterdir())
        process.kill()
        process.wait()
        assert not out.exists()
    out.write_text("older")
    with halfway(out) as (process, _):
        process.kill()
        process.wait()
        assert out.read_text() == "older"
    assert len(files(tmp_path)) == 2
    assert perps("export", "--out", str(out), database=loaded).returncode == 0
    assert files(tmp_path) == [name]
    assert by_polars(out) == held(loaded, ANYTHING)


def test_a_killed_export_leaves_whole_partitions(halfway, loaded, perps, tmp_path):
    out = tmp_path / "lake"
    with halfway(out) as (process, _):
        process.kill()
        process.wait()
    january = f"\"timestamp\" < '2024-02-01Z' and instrument = '{BTC}'"
    assert by_polars(out)[:44640] == held(loaded, january)
    assert perps("export", "--out", str(out), database=loaded).returncode == 0
    assert by_polars(out) == held(loaded, ANYTHING)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_export_leaves_nothing(number, code, halfway, tmp_path):
    for name in ("candles.parquet", "candles.csv"):
        with halfway(tmp_path / name) as (process, _):
            os.kill(process.pid, number)
            _, said = process.communicate(timeout=30)
        assert process.returncode == code, said
        assert "Traceback" not in said
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["candles.parquet", "candles.csv"])
def test_an_export_is_of_one_moment_while_candles_change(name, halfway, loaded, tmp_path):
    before = held(loaded, ANYTHING)
    change = "update perpetuals_ohlcv set volume = volume {} 1 where \"timestamp\" >= '2024-02-01Z'"
    with halfway(tmp_path / name) as (process, relay):
        rows(loaded, f"{change.format('+')} returning 1")
        relay.go_on.set()
        _, said = process.communicate(timeout=60)
        rows(loaded, f"{change.format('-')} returning 1")
    assert process.returncode == 0, said
    assert by_polars(tmp_path / name) == before


def test_a_partition_is_replaced_whole_and_others_stay(loaded, perps, tmp_path):
    out = tmp_path / "lake"

    def export(*arguments: str) -> subprocess.CompletedProcess[str]:
        return perps("export", "--out", str(out), *arguments, database=loaded)

    assert export("--start", "2024-01-30", "--end", "2024-02-05").returncode == 0
    assert export("--start", "2024-02-01").returncode == 0
    assert by_polars(out) == held(loaded, "\"timestamp\" >= '2024-01-30Z'")
    narrower = export("--start", "2024-02-02")
    assert narrower.returncode == 1
    assert "found candles from 2024-02-01 00:00:00Z to 2024-02-17 23:59:00Z" in error_of(narrower)
    assert "expected candles of resolution 1h in" in error_of(export("--resolution", "1h"))
    assert by_polars(out) == held(loaded, "\"timestamp\" >= '2024-01-30Z'")


@pytest.mark.parametrize(
    ("out", "code", "message"),
    [
        ("candles.json", 2, "expected FILE.parquet, FILE.csv or a folder in --out"),
        ("missing/candles.parquet", 1, "got No such file or directory; choose another --out"),
        ("missing/candles.csv", 1, "got No such file or directory; choose another --out"),
        ("file/candles", 1, "got Not a directory; choose another --out"),
    ],
)
def test_what_cannot_be_written_is_one_line(out, code, message, loaded, perps, tmp_path):
    (tmp_path / "file").touch()
    ended = perps("export", "--out", str(tmp_path / out), database=loaded)
    assert ended.returncode == code
    assert message in error_of(ended)
    assert files(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["candles.parquet", "candles.csv", "lake"])
def test_a_full_disk_is_one_line_and_leaves_no_half_file(name, loaded, perps, tmp_path):
    with mounted(tmp_path / "small", "512k") as disk:
        ended = perps("export", "--out", str(disk.folder / name), database=loaded)
        assert ended.returncode == 1
        assert "got No space left on device; choose another --out" in error_of(ended)
        assert files(disk.folder) == []
