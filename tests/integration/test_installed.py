"""The wheel has all that `perps` needs: no checkout, and nothing of one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from zipfile import ZipFile

from extract import __version__
from extract.database.database import Database
from tests.support.perps import PROJECT, expect, perps_environment, run_program

LEFT_OUT = ("__pycache__", ".pyc")


def files(folder: Path) -> set[str]:
    found = (path.relative_to(PROJECT).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.endswith(LEFT_OUT)}


def test_the_wheel_holds_the_package_and_the_dbt_project_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    project = files(PROJECT / "dbt_project") | {"dbt_project.yml", "profiles.yml.example"}
    wanted = files(PROJECT / "extract") | {f"extract/_project/{name}" for name in project}
    assert {name for name in names if ".dist-info/" not in name} == wanted


def test_what_is_installed_builds_without_a_checkout(
    wheel: Path, database: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    package, home = tmp_path / "package", tmp_path / "home"
    with ZipFile(wheel) as archive:
        archive.extractall(package)
    for path in (package, *package.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    plain = {name: value for name, value in environment.items() if not name.startswith("DBT_")}
    env = perps_environment(plain, database, env={"PERPS_HOME": str(home), "PYTHONPATH": str(package)})
    env |= {"PYTHONDONTWRITEBYTECODE": "1"}

    def perps(*arguments: str) -> str:
        return expect(run_program([sys.executable, "-P", "-m", "extract", *arguments], env, "/"))

    assert perps("--version") == f"perps {__version__}\n"
    listed = perps("dbt", "--", "--quiet", "ls", "--resource-type", "model", "--output", "path")
    assert "dbt_project/models/marts/perpetuals_ohlcv.sql" in listed.splitlines()
    compiled = (home / "dbt" / "target").rglob("manifest.json")
    assert any(os.fspath(package) in path.read_text() for path in compiled)
