"""What several modules stand on: a dbt project without rows, two perpetuals loaded and built, the wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.conftest import PROJECT, Perps
from tests.support.dbt_project import DbtProject

BUILD = ("dbt", "--", "build", "--resource-type", "model", "--resource-type", "seed")


@pytest.fixture(scope="module")
def warm(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The repository's dbt project on the module's database; parsed once for all modules of a process."""
    return DbtProject(module_database, tmp_path_factory.getbasetemp() / "dbt")


@pytest.fixture
def project(warm: DbtProject) -> DbtProject:
    """The module's dbt project with empty raw tables and nothing built."""
    warm.drop_everything()
    warm.create_raw_tables()
    return warm


@pytest.fixture(scope="module")
def loaded(module_database: Database, exchange: RunningSimulator, perps: Perps) -> Database:
    """Two perpetuals from 1 January 2024 to the module's exchange's clock, built without tests."""
    arguments = ("backfill", "--instruments", "BTC-PERPETUAL,ETH-PERPETUAL", "--start", "2024-01-01")
    assert perps(*arguments, database=module_database, api=exchange.base_url).returncode == 0
    built = perps(*BUILD, database=module_database)
    assert built.returncode == 0, built.stdout
    return module_database


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True, timeout=120)
    (made,) = folder.glob("*.whl")
    return made
