"""Names of libraries that are not theirs to promise, and that tests reach for all the same. Only here.

Each function says what for, and what a test would lose without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from dbt_common.behavior_flags import BehaviorFlagRendered

if TYPE_CHECKING:
    import pytest


def spare_the_stack() -> None:
    """Spare dbt in this process half a second a command: for each of its flags it searches the stack."""
    setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "tests"))  # noqa: B010  # mypy


def telemetry_of_dlt() -> str | None:
    """Return the address that dlt reports to, which it shows nowhere."""
    from dlt.common.runtime import anon_tracker  # noqa: PLC0415  # dlt reads the environment as it is imported

    return anon_tracker._ANON_TRACKER_ENDPOINT


def let_connections_linger(monkeypatch: pytest.MonkeyPatch) -> list[psycopg2.extensions.connection]:
    """Let no connection end when it is closed, as for a server that has not noticed yet; return them.

    A proxy cannot do this: it would have to hold back the end of a connection and nothing before it.
    """
    unnoticed: list[psycopg2.extensions.connection] = []

    class Lingering(psycopg2.extensions.connection):
        def close(self) -> None:
            unnoticed.append(self)

    connect = psycopg2.connect
    monkeypatch.setattr("psycopg2.connect", lambda **to: connect(connection_factory=Lingering, **to))
    return unnoticed


COPY = "dlt.destinations._adbc_jobs:AdbcParquetCopyJob.run"
JOB = "dlt.common.destination.client:RunnableLoadJob.run_managed"
COMPLETE = "dlt.destinations.job_client_impl:SqlJobClientBase.complete_load"
TABLES = "dlt.pipeline.pipeline:Pipeline.sync_schema"
STATEMENT = "dbt.adapters.sql.connections:SQLConnectionManager.add_query"
COMMIT = "dbt.adapters.postgres.connections:PostgresConnectionManager.commit"
BEGIN = "dbt.adapters.postgres.connections:PostgresConnectionManager.begin"
"""Between which steps a process can die: without these, kills at random times alone would have to find the
moments between a COPY, its bookkeeping and a mark, which last a millisecond."""


def save_dbt_project(manifest: Any, file: Path) -> None:
    """Write a parsed dbt project as dbt does, for processes that shall not read the project themselves."""
    from dbt.parser.manifest import extended_mashumaro_encoder  # noqa: PLC0415  # imports all of dbt

    file.write_bytes(manifest.to_msgpack(extended_mashumaro_encoder))


def load_dbt_project(file: Path) -> Any:
    """Return a parsed dbt project that was saved."""
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415
    from dbt.parser.manifest import extended_mashumuro_decoder  # noqa: PLC0415

    return Manifest.from_msgpack(file.read_bytes(), extended_mashumuro_decoder)
