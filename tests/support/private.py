"""Names of libraries that are not theirs to promise, and that tests reach for all the same. Only here.

Each function says what for, and what a test would lose without it.
"""

from __future__ import annotations

import psycopg2
import pytest
from dbt_common.behavior_flags import BehaviorFlagRendered
from dlt.common.runtime import anon_tracker


def spare_the_stack() -> None:
    """Spare dbt in this process half a second a command: for each of its flags it searches the stack."""
    BehaviorFlagRendered._default_source = staticmethod(lambda: "tests")


def telemetry_of_dlt() -> str | None:
    """Return the address that dlt reports to, which it shows nowhere."""
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
