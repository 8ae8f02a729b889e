"""Disks that are really full, then freed: the database's, the pipeline's, the log's and the report's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from extract.database import locks
from extract.embedded.cluster import Cluster
from tests.support.flow import BACKFILL, BUILD, Flow, empty, execute
from tests.support.perps import error_line


@dataclass(frozen=True)
class Disk:
    """A small file system of its own."""

    folder: Path

    def fill(self, but: int) -> None:
        """Take all of its space but so many bytes."""
        self.free()
        ballast = self.folder / "ballast"
        free = os.statvfs(self.folder)
        with ballast.open("wb") as out:
            out.write(bytes(max(0, free.f_bavail * free.f_frsize - but)))

    def free(self) -> None:
        """Give the space back."""
        (self.folder / "ballast").unlink(missing_ok=True)


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Disk]:
    """Yield a disk of `size` at `folder`, open to every account."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0777"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)  # noqa: PLW1510
    if made.returncode:
        pytest.skip(f"no right to mount a disk here: {made.stderr.decode().strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the server's account can enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="perps-disk-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tables_disk(flow: Flow, server: Cluster, place: Path) -> Iterator[Disk]:
    """A disk of 8 MB that holds every new table of the flow's database."""
    with mounted(place / "tables", "8m") as disk:
        space = disk.folder / "space"
        space.mkdir()
        shutil.chown(space, server._account.uid, server._account.gid)
        administrator = server.database("postgres", flow.database.dbname)
        name = f"small_{flow.database.dbname}"
        execute(
            administrator,
            f"create tablespace {name} owner perps location '{space}'",
            f"alter database {flow.database.dbname} set default_tablespace to {name}",
        )
        yield disk
        execute(administrator, f"alter database {flow.database.dbname} reset default_tablespace")
        disk.free()
        empty(flow.database)
        execute(administrator, f"drop tablespace {name}")


def test_a_full_disk_of_tables_ends_load_and_build_and_loses_nothing(flow: Flow, tables_disk: Disk):
    tables_disk.fill(but=0)
    full = error_line(flow.command(*BACKFILL))
    assert full.startswith("error: could not load a package: DiskFull")
    assert "No space left on device" in full
    tables_disk.fill(but=400_000)
    assert "No space left on device" in error_line(flow.command(*BACKFILL))
    tables_disk.free()
    flow.recover("disk", "tables: full inside a copy")

    execute(flow.database, "drop table perpetuals_ohlcv cascade")
    tables_disk.fill(but=300_000)
    built = flow.perps(*BUILD, database=flow.database)
    assert built.returncode == 1
    assert "No space left on device" in built.stdout
    tables_disk.free()
    flow.recover("disk", "tables: full inside a build", BUILD)


def test_a_full_disk_of_working_files_ends_the_load_and_loses_nothing(flow: Flow, place: Path):
    home = place / "home"
    with mounted(home / "pipelines", "300k"):
        failed = error_line(flow.command(*BACKFILL, PERPS_HOME=str(home)))
    assert "No space left on device" in failed
    flow.recover("disk", "working files: full inside a package")


def test_a_full_disk_of_logs_neither_stops_a_load_nor_hides_an_error(flow: Flow, place: Path):
    home = place / "home"
    with mounted(home / "logs", "64k") as disk:
        disk.fill(but=0)
        with locks.run_lock(flow.database):
            refused = flow.command(*BACKFILL, PERPS_HOME=str(home))
        loaded = flow.command(*BACKFILL, PERPS_HOME=str(home))
        assert [log.stat().st_size for log in disk.folder.glob("*.log")] == [0]
    assert "another load is using" in error_line(refused)
    assert loaded.returncode == 0, loaded.stderr
    flow.recover("disk", "log: full", BUILD)


@pytest.mark.long
def test_a_full_disk_of_the_report_ends_it_with_one_line(flow: Flow, place: Path):
    flow.expect(*BACKFILL)
    flow.expect("dbt", "--", "build", "--resource-type", "model", "--resource-type", "seed")
    with mounted(place / "report", "64k") as disk:
        disk.fill(but=0)
        failed = error_line(flow.command("report", "--out", str(disk.folder)))
        assert "No space left on device; choose --out" in failed
        disk.free()
    flow.recover("disk", "report: full", ("report", "--out", str(place / "report")))
