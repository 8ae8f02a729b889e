"""What several modules stand on: a dbt project, a loader, two perpetuals loaded and built, the wheel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.load.loader import Loader
from extract.simulator import RunningSimulator
from tests.support.dbt_project import DbtProject, parsed_once
from tests.support.exchange import calm
from tests.support.loading import NOW, impatient
from tests.support.perps import PROJECT, Perps, expect

BUILD = ("dbt", "--", "build", "--resource-type", "model", "--resource-type", "seed")


@pytest.fixture(scope="module")
def warm(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The repository's dbt project on the module's database."""
    return parsed_once(module_database, tmp_path_factory)


@pytest.fixture
def project(warm: DbtProject) -> DbtProject:
    """The module's dbt project with empty raw tables and nothing built."""
    warm.start_anew()
    return warm


@pytest.fixture
def load(database: Database, exchange: RunningSimulator, tmp_path: Path) -> Callable[..., Loader]:
    """`load(**changes)`: a loader into a fresh database, from the module's exchange, calm and at NOW."""
    calm(exchange, NOW)

    def make(**changes) -> Loader:
        wanted = {"client": impatient(exchange), "database": database, **changes}
        return Loader(wanted.pop("client"), wanted.pop("database"), tmp_path / "pipelines", **wanted)

    return make


@pytest.fixture(scope="module")
def loaded(module_database: Database, exchange: RunningSimulator, perps: Perps) -> Database:
    """Two perpetuals from 1 January 2024 to the module's exchange's clock, built without tests."""
    arguments = ("backfill", "--instruments", "BTC-PERPETUAL,ETH-PERPETUAL", "--start", "2024-01-01")
    expect(perps(*arguments, database=module_database, api=exchange.base_url))
    expect(perps(*BUILD, database=module_database))
    return module_database


@pytest.fixture
def alone(perps: Perps) -> Perps:
    """`perps` with every command in a process of its own, as a person has it."""
    return lambda *arguments, **given: perps(*arguments, alone=True, **given)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True, timeout=120)
    (made,) = folder.glob("*.whl")
    return made
