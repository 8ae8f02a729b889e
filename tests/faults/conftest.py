"""One small exchange a module, and flows from it into fresh databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extract.database.database import Database
from extract.simulator import RunningSimulator
from tests.support.flow import END, Flow, empty, small_exchange
from tests.support.perps import Perps
from tests.support.truth import control


@pytest.fixture(scope="module")
def small() -> Iterator[RunningSimulator]:
    with small_exchange() as simulated:
        yield simulated


@pytest.fixture
def flow(
    module_database: Database, small: RunningSimulator, perps: Perps, environment: dict[str, str]
) -> Flow:
    """A flow into the module's database, emptied, from an exchange without faults.

    A database a test would have dbt read the project anew for each, which takes longer than the rest.
    """
    empty(module_database)
    control(small.base_url, "clock", {"now": END})
    control(small.base_url, "faults", [])
    return Flow(module_database, small, perps, environment)
