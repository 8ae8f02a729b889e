"""Writes a selection part by part to a Parquet file, a CSV file, or a folder of Parquet files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from glob import escape
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from extract.core.names import ENDPOINTS
from extract.core.times import format_time
from extract.database.database import Database
from extract.errors import PerpsError, UsageError
from extract.export.parts import ahead, one_line_errors, read_part, snapshot
from extract.export.selection import Part, Selection, month_of

PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["instrument"],  # a dictionary of prices takes twice the time and a third more bytes
    "store_decimal_as_integer": True,
}


def write_rows(database: Database, selection: Selection, out: str) -> int:
    """Write rows, sorted by instrument and time; return how many.

    A file is replaced as a whole once the new one is complete. A folder has one file per instrument and
    month, `instrument=NAME/month=YYYY-MM/candles.parquet` (or `funding.parquet`, `settlements.parquet`); each
    file written is replaced in that way, and the others stay.

    Args:
        database: the database to read.
        selection: the rows to write.
        out: FILE.parquet, FILE.csv, or a folder, which is created if it is missing.

    Raises:
        UsageError: `out` is none of them.
        PerpsError: there are no rows, or something cannot be read or written.
    """
    path = Path(out)
    write: Callable[[Database, Selection, Path], int]
    if path.is_dir() or out.endswith(os.sep) or not path.suffix:
        write = _write_folder
    elif path.suffix in (".csv", ".parquet"):
        write = _write_csv if path.suffix == ".csv" else _write_parquet
    else:
        raise UsageError(
            f"expected FILE.parquet, FILE.csv or a folder in --out, got {out}; end a folder's name with /"
        )
    try:
        with one_line_errors(selection.table.kind):
            return write(database, selection, path)
    except OSError as error:
        raise PerpsError(
            f"could not write {selection.table.kind} to {out}: {error.strerror or error}; "
            "choose another --out"
        ) from None


def _write_parquet(database: Database, selection: Selection, path: Path) -> int:
    rows = 0
    with _tables(database, selection, selection.parts()) as tables, _replacing(path, path.parent) as written:
        with written.open("wb") as file, pq.ParquetWriter(file, selection.table.schema, **PARQUET) as writer:
            for table in tables:
                writer.write_table(table)
                rows += len(table)
        _expect_rows(rows, selection)
    return rows


def _write_csv(database: Database, selection: Selection, path: Path) -> int:
    rows = 0
    with _lines(database, selection) as lines, _replacing(path, path.parent) as written:
        with written.open("wb") as file:
            file.write(f"{','.join(selection.table.schema.names)}\n".encode())
            for text, count in lines:
                file.write(text)
                rows += count
        _expect_rows(rows, selection)
    return rows


def _write_folder(database: Database, selection: Selection, folder: Path) -> int:
    """Write a file for each instrument and month, with the instrument in the path and not in a column.

    If it were in both, pandas would find two columns of different types.
    """
    parts = list(selection.parts(months=1))
    paths = [_partition(folder, selection, part) for part in parts]
    _expect_alone(folder, selection)
    for path in paths:
        _expect_replaceable(path, selection)
    rows = 0
    with _tables(database, selection, parts) as tables:
        for path, table in zip(paths, tables, strict=True):
            if len(table):
                path.parent.mkdir(parents=True, exist_ok=True)
                with _replacing(path, folder) as written, written.open("wb") as file:
                    pq.write_table(table.drop_columns(["instrument"]), file, **PARQUET)
                rows += len(table)
    _expect_rows(rows, selection)
    return rows


@contextmanager
def _tables(database: Database, selection: Selection, parts: Iterable[Part]) -> Iterator[Iterator[pa.Table]]:
    with snapshot(database) as cursor, ahead(partial(read_part, cursor, selection), parts) as tables:
        yield tables


@contextmanager
def _lines(database: Database, selection: Selection) -> Iterator[Iterator[tuple[bytes, int]]]:
    """Yield the CSV lines of each part as PostgreSQL's COPY writes them, and their number.

    Writing them through Arrow would take twice as long.
    """
    table = selection.table
    at = f"""to_char("{table.time}" at time zone 'UTC', '{table.clock}')"""
    columns = [at, *table.schema.names[1:]]

    def read(part: Part) -> tuple[bytes, int]:
        text, query = BytesIO(), selection.query(part, columns)
        cursor.copy_expert(f"copy ({query}) to stdout with (format csv)", text)
        return text.getvalue(), cursor.rowcount

    opened = database.connect(autocommit=False)
    try:
        opened.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with opened.cursor() as cursor:
            cursor.execute("set local extra_float_digits = 1")  # a role's own setting could round doubles
            with ahead(read, selection.parts()) as lines:
                yield lines
    finally:
        opened.close()


def _partition(folder: Path, selection: Selection, part: Part) -> Path:
    month = folder / f"instrument={quote(part.instrument)}" / f"month={month_of(part.start_ms)}"
    return month / f"{selection.table.kind}.parquet"


@contextmanager
def _replacing(path: Path, folder: Path) -> Iterator[Path]:
    """Yield a file that replaces `path` once it is written, and is deleted if writing fails.

    Args:
        path: the file to replace.
        folder: for the new file, on the same disk. Files that a killed export left there are deleted.
    """
    for left in folder.glob(f".{escape(path.name)}.*.part"):
        left.unlink(missing_ok=True)
    written = folder / f".{path.name}.{os.getpid()}.part"
    try:
        yield written
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)


def _expect_alone(folder: Path, selection: Selection) -> None:
    """Make sure that a folder has rows of one kind only, because it is read as one table.

    Raises:
        PerpsError: it has rows of another kind.
    """
    kind = selection.table.kind
    for other in ENDPOINTS:
        if other != kind and (found := next(folder.glob(f"instrument=*/month=*/{other}.parquet"), None)):
            raise PerpsError(
                f"expected {kind} alone in {folder}, found {found}; choose another folder in --out"
            )


def _expect_replaceable(path: Path, selection: Selection) -> None:
    """Make sure that replacing a file loses no row, and that it has the resolution of the selection.

    Raises:
        PerpsError: the file has rows outside of the selection, or of another resolution.
    """
    if not path.is_file():
        return
    found, table = _metadata(path), selection.table
    resolution = (found.metadata or {}).get(b"resolution", b"unknown").decode()
    if resolution != table.resolution:
        raise PerpsError(
            f"expected {table.kind} of resolution {table.resolution} in {path}, found {resolution}; "
            "choose another folder in --out"
        )
    times = [found.row_group(number).column(0).statistics for number in range(found.num_row_groups)]
    first, last = (
        round(moment.timestamp() * 1_000_000) // 1000
        for moment in (min(each.min for each in times), max(each.max for each in times))
    )
    if first < selection.start_ms or last >= selection.end_ms:
        raise PerpsError(
            f"expected --start and --end to contain all rows of {path}, which is replaced as a whole, found "
            f"{table.kind} from {format_time(first)} to {format_time(last)}; name whole months, or choose "
            "another --out"
        )


def _metadata(path: Path) -> Any:
    try:
        return pq.read_metadata(path)
    except pa.ArrowInvalid:
        raise PerpsError(f"expected Parquet in {path}, got something else; choose another --out") from None


def _expect_rows(rows: int, selection: Selection) -> None:
    """Make sure that rows were written.

    Raises:
        PerpsError: there were none.
    """
    table = selection.table
    if not rows:
        raise PerpsError(
            f"the table has no {table.kind} between --start and --end; see its bounds in {table.bounds}"
        )
