"""The server ends sessions, or stops, in the middle of a load and of a build."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from extract.embedded.cluster import Cluster
from extract.simulator import RunningSimulator
from tests.support.flow import BACKFILL, BUILD, Flow, empty
from tests.support.perps import Perps, Result, error_line
from tests.support.truth import rows
from tests.support.waiting import wait_until


@pytest.fixture
def flow(
    own_cluster: Cluster,
    server: Cluster,
    exchange: RunningSimulator,
    perps: Perps,
    environment: dict[str, str],
) -> Flow:
    """A flow into a server of its own; `server` is asked for so that hosts without one skip."""
    database = own_cluster.start()
    empty(database)
    return Flow(database, exchange, perps, environment)


def end_sessions(flow: Flow, _: Cluster) -> None:
    """End every session of a run, as an administrator or a failover does."""
    ended = rows(
        flow.database,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and usename = current_user and pid <> pg_backend_pid()",
    )
    assert ended


def restart(mode: str) -> Callable[[Flow, Cluster], None]:
    def act(_: Flow, cluster: Cluster) -> None:
        cluster._server.halt(mode)
        cluster.start()

    return act


FAULTS = [
    pytest.param("sessions ended", end_sessions, id="sessions ended"),
    pytest.param("fast restart", restart("fast"), id="fast restart", marks=pytest.mark.long),
    pytest.param("immediate restart", restart("immediate"), id="immediate restart"),
]


@pytest.mark.parametrize(("fault", "act"), FAULTS)
def test_inside_a_copy_it_ends_the_load_with_one_line(flow: Flow, own_cluster, fault, act):
    with flow.inside_a_copy(lambda _: act(flow, own_cluster)) as through:
        failed = flow.command(*BACKFILL, through=through)
    assert "run the same command again" in error_line(failed)
    flow.recover("server", f"{fault} inside a copy")


@pytest.mark.parametrize(("fault", "act"), FAULTS)
def test_inside_a_build_it_ends_the_build_with_one_line(flow: Flow, own_cluster, fault, act):
    flow.expect(*BACKFILL)
    results: list[Result] = []
    holding = flow.database.connect(autocommit=False)
    with holding.cursor() as cursor:
        cursor.execute("lock table deribit_raw.candles in access exclusive mode")
    building = threading.Thread(
        target=lambda: results.append(flow.perps(*BUILD, database=flow.database, api=flow.exchange.base_url))
    )
    building.start()
    waiting = "select count(*) from pg_locks where not granted and locktype = 'relation'"
    wait_until(lambda: rows(flow.database, waiting)[0][0] > 0, "a build that waits for the raw candles")
    act(flow, own_cluster)
    holding.close()
    building.join()
    assert results[0].returncode == 1, results[0].stdout
    assert "Traceback" not in results[0].stdout + results[0].stderr
    flow.recover("server", f"{fault} inside a build", BUILD)
