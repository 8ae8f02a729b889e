"""Funding and settlements that are read and exported are those of the tables, in every bit."""

from __future__ import annotations

import csv
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extract import read_candles, read_funding, read_settlements
from extract.database.database import Database
from extract.errors import UsageError
from extract.export.selection import select
from tests.support.perps import perps_environment
from tests.support.truth import execute, rows

EXCHANGE = {"clock": "2024-02-18T00:00:30Z", "requests_per_second": None}
BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
READ = {"funding": read_funding, "settlements": read_settlements}
TIME = {"funding": "timestamp", "settlements": "settled_at"}
DOUBLES = {
    "funding": ("interest_1h", "interest_8h", "index_price", "prev_index_price"),
    "settlements": ("open_interest", "mark_price", "index_price", "profit_loss", "session_profit_loss"),
}
NAMES = {
    "funding": ("timestamp", "instrument", *DOUBLES["funding"]),
    "settlements": ("settled_at", "settlement_day", "instrument", *DOUBLES["settlements"]),
}
KINDS = pytest.mark.parametrize("kind", READ)
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def tables(loaded: Database) -> Database:
    """The loaded database, with values that a careless format would change, and values that are null."""
    execute(
        loaded,
        "update perpetuals_funding set interest_1h = 1.2e-09, interest_8h = -4.9406564584124654e-324,"
        " prev_index_price = null where extract(hour from timestamp at time zone 'utc') = 3",
        "update perpetuals_funding set interest_1h = 0.1::float8 + 0.2::float8, interest_8h = '-0'"
        " where extract(hour from timestamp at time zone 'utc') = 4",
        "update perpetuals_settlements set index_price = null, open_interest = 1.7976931348623157e308,"
        " profit_loss = 2.2250738585072014e-308 where extract(day from settlement_day) = 5",
        # settings that a database may have
        f"alter database {loaded.dbname} set extra_float_digits = 0",
        f"alter database {loaded.dbname} set datestyle = 'German'",
    )
    return loaded


@pytest.fixture
def reachable(tables: Database, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database is the one that this process's variables name."""
    for name, value in perps_environment(environment, tables).items():
        monkeypatch.setenv(name, value)
    return tables


@pytest.fixture
def export(tables: Database, perps, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`export(kind, name, *flags)`: export rows of a kind to a path in the test's folder."""
    return lambda kind, name, *flags: perps(
        "export", "--only", kind, *flags, "--out", str(tmp_path / name), database=tables
    )


def held(database: Database, kind: str, where: str = "true") -> Rows:
    """Return what the table has, by instrument and time; each double as its eight bytes."""
    sent = [f"float8send({name})" if name in DOUBLES[kind] else f'"{name}"' for name in NAMES[kind]]
    query = f"select {', '.join(sent)} from perpetuals_{kind} where {where}"
    found = rows(database, f'{query} order by instrument collate "C", "{TIME[kind]}"')
    return [tuple(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in found]


def in_bits(found: Rows) -> Rows:
    """Return rows in the form of `held`; a time that is not UTC, or has no zone, does not pass."""
    assert all(row[0].utcoffset() == timedelta(0) for row in found)
    return [tuple(map(bits, row)) for row in found]


def bits(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else struct.pack("!d", value)
    if isinstance(value, datetime):  # pandas has a type of its own
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=round(value.timestamp() * 1_000_000))
    return value


def by_pandas(path: Path, kind: str) -> Rows:
    if path.suffix == ".csv":
        frame = pd.read_csv(path, parse_dates=[TIME[kind]])
        frame = frame.astype(dict.fromkeys(DOUBLES[kind], "float64"))
        if kind == "settlements":
            frame["settlement_day"] = [date.fromisoformat(day) for day in frame["settlement_day"]]
    else:
        frame = pd.read_parquet(path)
        assert {str(frame.dtypes[name]) for name in DOUBLES[kind]} == {"float64"}
    return [tuple(row) for row in frame[list(NAMES[kind])].itertuples(index=False)]


def by_polars(path: Path, kind: str) -> Rows:
    if path.suffix == ".csv":
        types = dict.fromkeys(DOUBLES[kind], pl.Float64)
        return pl.read_csv(path, try_parse_dates=True, schema_overrides=types).rows()
    files = f"{path}/**/*.parquet" if path.is_dir() else path
    return pl.read_parquet(files, hive_partitioning=path.is_dir()).select(NAMES[kind]).rows()


def by_duckdb(path: Path, kind: str) -> Rows:
    if path.suffix == ".csv":
        types = dict.fromkeys(DOUBLES[kind], "double") | {TIME[kind]: "timestamptz"}
        found = duckdb.execute("from read_csv(?, types = ?)", [str(path), types])
    else:
        files = f"{path}/**/*.parquet" if path.is_dir() else str(path)
        found = duckdb.execute(f"select {', '.join(NAMES[kind])} from read_parquet(?)", [files])
    assert [column[0] for column in found.description] == list(NAMES[kind])
    return found.fetchall()


def error_of(ended: subprocess.CompletedProcess[str], code: int = 1) -> str:
    assert ended.returncode == code
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows"])
@KINDS
def test_pandas_polars_and_duckdb_read_from_an_export_what_the_table_holds(
    kind, name, tables, export, tmp_path
):
    ended = export(kind, name)
    assert ended.returncode == 0, ended.stderr
    wanted = held(tables, kind)
    assert len(wanted) > {"funding": 2000, "settlements": 90}[kind]
    counted = {"funding": "funding rates", "settlements": "settlements"}[kind]
    assert ended.stdout.startswith(f"{len(wanted):,} {counted} in ")
    for read in (by_pandas, by_polars, by_duckdb):
        assert in_bits(read(tmp_path / name, kind)) == wanted, read.__name__


@pytest.mark.parametrize("return_type", ["arrow", "pandas", "polars"])
@KINDS
def test_rows_are_read_as_what_is_asked_for(kind, return_type, reachable):
    found = READ[kind]([ETH, BTC], "2024-01-03T08:00", "2024-02-05T08:00", return_type=return_type)
    if return_type == "pandas":
        assert str(found.dtypes[TIME[kind]]) == "datetime64[us, UTC]"
        assert {str(found.dtypes[name]) for name in DOUBLES[kind]} == {"float64"}
        values = [tuple(row) for row in found.itertuples(index=False)]
    elif return_type == "polars":
        assert found.schema[TIME[kind]] == pl.Datetime("us", "UTC")
        values = found.rows()
    else:
        assert found.schema.names == list(NAMES[kind])
        assert found.schema.field(TIME[kind]).type == pa.timestamp("us", "UTC")
        assert {found.schema.field(name).type for name in DOUBLES[kind]} == {pa.float64()}
        values = [tuple(row.values()) for row in found.to_pylist()]
    within = f"\"{TIME[kind]}\" >= '2024-01-03 08:00Z' and \"{TIME[kind]}\" < '2024-02-05 08:00Z'"
    assert in_bits(values) == held(reachable, kind, within)


def test_the_days_of_settlements_are_dates(reachable):
    assert read_settlements(BTC).schema.field("settlement_day").type == pa.date32()
    assert read_settlements(BTC, return_type="polars").schema["settlement_day"] == pl.Date
    assert type(read_settlements(BTC, return_type="pandas")["settlement_day"][0]) is date


@KINDS
def test_the_start_is_part_of_a_range_and_the_end_is_not(kind, reachable):
    times = [row[0] for row in held(reachable, kind, f"instrument = '{BTC}'")]
    for first, last in ((0, 1), (10, 20), (len(times) - 2, len(times) - 1)):
        assert READ[kind](BTC, times[first], times[last]).column(0).to_pylist() == times[first:last]
        just_after = times[last] + timedelta(milliseconds=1)
        assert READ[kind](BTC, times[first], just_after).column(0).to_pylist() == times[first : last + 1]


@pytest.fixture
def late(reachable: Database) -> Iterator[datetime]:
    """The last settlement of January is stamped in February, before 08:00: the day is still January's."""
    stamp = datetime(2024, 2, 1, 7, 59, 59, 999_000, UTC)
    of_it = f"where settlement_day = '2024-01-31' and instrument = '{BTC}'"
    ((before,),) = rows(reachable, f"select settled_at from perpetuals_settlements {of_it}")
    execute(reachable, f"update perpetuals_settlements set settled_at = '{stamp}' {of_it}")
    yield stamp
    execute(reachable, f"update perpetuals_settlements set settled_at = '{before}' {of_it}")


def test_a_late_settlement_is_found_by_its_stamp(late, reachable, export, tmp_path):
    (found,) = read_settlements(BTC, late, late + timedelta(milliseconds=1)).to_pylist()
    assert (found["settled_at"], found["settlement_day"]) == (late, date(2024, 1, 31))
    (found,) = read_settlements(BTC, "2024-02-01", "2024-02-01T08:00").to_pylist()
    assert found["settled_at"] == late
    assert export("settlements", "lake").returncode == 0
    february = tmp_path / "lake" / f"instrument={BTC}" / "month=2024-02" / "settlements.parquet"
    assert pq.read_table(february).column("settled_at").to_pylist()[0] == late
    assert in_bits(by_duckdb(tmp_path / "lake", "settlements")) == held(reachable, "settlements")


@KINDS
def test_only_chunks_of_the_range_are_opened(kind, reachable):
    """Another chunk, of long ago, has a copy of a row, and is not in the plan."""
    long_ago = {
        "funding": "timestamp '1980-01-01'",
        "settlements": "timestamp '1980-01-01 08:00', date '1980-01-01'",
    }[kind]
    values = ", ".join(DOUBLES[kind])
    execute(
        reachable,
        f"insert into perpetuals_{kind} select {long_ago}, '{BTC}', {values} from perpetuals_{kind} limit 1",
    )
    try:
        ((chunks,),) = rows(reachable, f"select count(*) from show_chunks('perpetuals_{kind}')")
        assert chunks > 1
        start = datetime(2024, 1, 3, tzinfo=UTC)
        day_ms = (int(start.timestamp()) * 1000, int(start.timestamp()) * 1000 + 86_400_000)
        selection = select(reachable, [BTC], day_ms, kind)
        (part,) = selection.parts()
        plan = rows(reachable, f"explain {selection.query(part, ['instrument'])}")
        assert len(set(re.findall(r"_hyper_\d+_\d+_chunk", str(plan)))) == 1
    finally:
        execute(reachable, f"delete from perpetuals_{kind} where \"{NAMES[kind][0]}\" < '2000-01-01'")


def test_a_csv_file_spells_doubles_as_python_does_and_times_in_full(export, tables, tmp_path):
    assert export("funding", "f.csv", "--instruments", BTC, "--end", "2024-01-03").returncode == 0
    with (tmp_path / "f.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    (third,) = [row for row in found if row["timestamp"] == "2024-01-02T03:00:00Z"]
    assert third["interest_1h"] == repr(1.2e-09)
    assert third["prev_index_price"] == ""
    assert {row["interest_1h"] for row in found} >= {repr(0.1 + 0.2)}
    assert export("settlements", "s.csv", "--instruments", BTC, "--end", "2024-01-03").returncode == 0
    with (tmp_path / "s.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    ((at, day),) = rows(
        tables,
        "select settled_at, settlement_day from perpetuals_settlements"
        f" where instrument = '{BTC}' order by 1 limit 1",
    )
    assert first["settled_at"] == f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert at.microsecond
    assert first["settlement_day"] == str(day)


@KINDS
def test_a_folder_holds_one_kind_of_rows_and_replaces_whole_months(kind, tables, export, perps, tmp_path):
    assert export(kind, "lake").returncode == 0
    paths = sorted(path.relative_to(tmp_path / "lake") for path in (tmp_path / "lake").rglob("*.parquet"))
    assert [str(path) for path in paths] == [
        f"instrument={instrument}/month={month}/{kind}.parquet"
        for instrument in (BTC, ETH)
        for month in ("2024-01", "2024-02")
    ]
    assert export(kind, "lake", "--start", "2024-02-01").returncode == 0
    assert in_bits(by_polars(tmp_path / "lake", kind)) == held(tables, kind)
    assert f"found {kind} from 2024-02-01 " in error_of(export(kind, "lake", "--start", "2024-02-02"))
    for other in {"candles", *READ} - {kind}:
        line = error_of(export(other, "lake", "--start", "2024-02-01", "--end", "2024-02-03"))
        assert f"expected {other} alone in {tmp_path / 'lake'}, found " in line
        assert line.endswith(f"{kind}.parquet; choose another folder in --out")


@KINDS
def test_a_range_without_rows_is_an_empty_table_and_no_file(kind, reachable, export, tmp_path):
    assert READ[kind]("all", "2024-03-01").equals(READ[kind]("all").slice(0, 0))
    for name in ("none.parquet", "none.csv", "none"):
        line = error_of(export(kind, name, "--start", "2024-03-01"))
        assert line == (
            f"error: the table has no {kind} between --start and --end; see its bounds in perpetuals_{kind}"
        )
    assert list(tmp_path.iterdir()) == []


@KINDS
def test_an_instrument_without_rows_is_told_with_what_loads_it(kind, reachable, export):
    with pytest.raises(UsageError, match=rf"no {kind} of BTC-PERP \(BTC-PERPETUAL\?\)") as raised:
        READ[kind]("BTC-PERP")
    assert str(raised.value).endswith(
        f"or load it with perps backfill --only {kind}, then run: perps dbt -- build"
    )
    assert error_of(export(kind, "x.csv", "--instruments", "BTC-PERP"), 2) == f"error: {raised.value}"


@KINDS
def test_an_empty_table_is_told_with_what_fills_it(kind, reachable, export):
    execute(
        reachable,
        f"alter table perpetuals_{kind} rename to aside",
        f"create table perpetuals_{kind} (like aside)",
    )
    try:
        message = f"the table has no {kind}; run: perps backfill --only {kind}, then: perps dbt -- build"
        with pytest.raises(UsageError, match=f"^{message}$"):
            READ[kind]("all")
        assert error_of(export(kind, "x.csv"), 2) == f"error: {message}"
    finally:
        execute(reachable, f"drop table perpetuals_{kind}", f"alter table aside rename to perpetuals_{kind}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--only", "candles,funding"), "expected one of candles, funding, settlements in --only, because"),
        (("--only", "settlements", "funding"), "got funding, settlements; export each to a place of its own"),
        (("--only", "trades"), "expected --only to name candles, funding, settlements, got trades"),
        (
            ("--only", "funding", "--resolution", "1h"),
            "expected --resolution with candles only, got it with --only funding; leave out --resolution",
        ),
        (("--only", "settlements", "--resolution", "1"), "with --only settlements; leave out --resolution"),
    ],
    ids=["pair", "two", "unknown", "resolution", "default-resolution"],
)
def test_flags_that_do_not_go_together_are_one_line(flags, message, tables, perps, tmp_path):
    ended = perps("export", *flags, "--out", str(tmp_path / "x.csv"), database=tables)
    assert message in error_of(ended, 2)
    assert list(tmp_path.iterdir()) == []


def test_candles_are_what_is_exported_by_default(reachable, perps, tmp_path):
    day = ("--start", "2024-01-31", "--end", "2024-02-01")
    for name, flags in (("a.parquet", ()), ("b.parquet", ("--only", "candles", "--resolution", "1"))):
        ended = perps("export", *day, *flags, "--out", str(tmp_path / name), database=reachable)
        assert ended.stdout.startswith("2,880 candles in ")
    wanted = read_candles("all", "2024-01-31", "2024-02-01")
    assert pq.read_table(tmp_path / "a.parquet").equals(wanted)
    assert pq.read_table(tmp_path / "b.parquet").equals(wanted)
