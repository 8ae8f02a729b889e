"""An exchange for each module, and a flow from it into the module's database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from extract.database.database import Database
from extract.embedded.cluster import Cluster
from extract.simulator import RunningSimulator
from tests.support.exchange import set_clock, set_faults, simulated
from tests.support.flow import END, Flow, empty
from tests.support.own_server import own_server
from tests.support.people import run_here
from tests.support.perps import Perps, Result


@pytest.fixture(scope="module")
def exchange(request: pytest.FixtureRequest) -> Iterator[RunningSimulator]:
    """An exchange as the module's EXCHANGE says, by default at the end of the small history."""
    with simulated(**{"clock": END, **getattr(request.module, "EXCHANGE", {})}) as running:
        yield running


@pytest.fixture(scope="module")
def own_cluster(cache: Path) -> Iterator[Cluster]:
    """A server of the module's own, to be stopped and killed."""
    with own_server(cache) as (_, cluster):
        yield cluster


@pytest.fixture
def flow(
    module_database: Database, exchange: RunningSimulator, perps: Perps, environment: dict[str, str]
) -> Flow:
    """A flow into the module's database, emptied, from an exchange without faults.

    A database a test would have dbt read the project anew for each, which takes longer than the rest.
    """
    empty(module_database)
    set_clock(exchange, END)
    set_faults(exchange)
    return Flow(module_database, exchange, perps, environment)


@pytest.fixture
def typed(tmp_path: Path) -> Callable[..., Result]:
    """`typed(*arguments, **env)`: run a command in this process, with a PERPS_HOME of the test's own."""
    return lambda *typed, **env: run_here(*typed, env={"PERPS_HOME": str(tmp_path / "home"), **env})
