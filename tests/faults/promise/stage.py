"""The stage of the property test: a server, a simulated exchange, a zygote, and looks into the database."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from extract.database.database import Database, DatabaseError
from extract.embedded.cluster import Cluster
from tests.faults.promise.points import CRASH, SIGNALS, TERMINATE, Hit, Victims, terminate
from tests.faults.promise.zygote import Running, Zygote
from tests.support.own_server import own_server
from tests.support.perps import FOREIGN
from tests.support.truth import rows

DATABASE = "promise"

LONGEST_QUIET_S = 40.0


OTHERS = "select count(*) from pg_stat_activity where datname = %s and backend_type = 'client backend'"


@dataclass
class Stage:
    """Where scenarios are carried out, one after the other.

    Attributes:
        home: PERPS_HOME of the commands.
        cluster: the server.
        zygote: starts commands.
        beside: starts commands beside those, once there have been some.
    """

    home: Path
    cluster: Cluster
    zygote: Zygote
    beside: Zygote | None = None

    @property
    def database(self) -> Database:
        return self.cluster.database(dbname=DATABASE)

    def victims(self) -> Victims:
        """Return whom a hit may need, as things are now."""
        superuser = self.cluster.database("postgres", "postgres")
        dsn = psycopg2.extensions.make_dsn(
            host=superuser.host,
            port=superuser.port,
            dbname=superuser.dbname,
            user=superuser.user,
            password=superuser.password,
        )
        reached = self.home / "reached"
        reached.unlink(missing_ok=True)
        return Victims(self.cluster.status().pid or 0, dsn, DATABASE, str(reached))

    def revive(self) -> None:
        """Start the server if it does not run, as `perps db start` does."""
        self.cluster.start()

    def wait_until_quiet(self) -> None:
        """Wait until no session of an ended command is left on the database."""
        superuser = self.cluster.database("postgres", "postgres")
        deadline = time.monotonic() + LONGEST_QUIET_S
        while rows(superuser, OTHERS, DATABASE) != [(0,)]:
            assert time.monotonic() < deadline, (
                "expected the sessions of ended commands to end, got some left"
            )
            time.sleep(0.05)

    def fresh_database(self) -> None:
        with suppress(DatabaseError):
            self.cluster.drop_database(DATABASE)
        self.cluster.create_database(DATABASE)
        self.lose_workdir()

    def lose_workdir(self) -> None:
        shutil.rmtree(self.home / "pipelines", ignore_errors=True)

    def start(
        self,
        arguments: Sequence[str],
        api: str,
        buckets: int,
        hit: Hit | None = None,
        victims: Victims | None = None,
        foreign: Mapping[str, str] | None = None,
    ) -> Running:
        environment = self._environment(api, "dbt") | (foreign or {})
        return self.zygote.start(arguments, environment, hit, victims, buckets)

    def start_beside(self, arguments: Sequence[str], api: str) -> Running:
        """Start a command that may run while another one does."""
        self.beside = self.beside or Zygote(self.home, DATABASE)
        return self.beside.start(arguments, self._environment(api, "dbt-beside"))

    def _environment(self, api: str, files: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        return kept | {
            **self.database.env(),
            "DERIBIT_API_URL": api,
            "PERPS_HOME": str(self.home),
            "DBT_TARGET_PATH": str(self.home / files / "target"),
            "DBT_LOG_PATH": str(self.home / files / "logs"),
            "DBT_WRITE_JSON": "false",
        }

    def disturb(self, running: Running, action: str, victims: Victims) -> None:
        """Do to a running command from the outside what a hit does from the inside."""
        if action in SIGNALS:
            running.kill(SIGNALS[action])
        elif action == CRASH:
            os.kill(victims.postmaster, signal.SIGKILL)
        elif action == TERMINATE:
            terminate(victims)
        else:
            running.kill()


@contextmanager
def open_stage(cache: Path | None = None) -> Iterator[Stage]:
    """Yield a stage with a server of its own, gone afterwards."""
    with own_server(cache) as (home, cluster):
        stage = Stage(home, cluster, Zygote(home, DATABASE))
        yield stage
        for zygote in filter(None, (stage.zygote, stage.beside)):
            zygote.stop()
