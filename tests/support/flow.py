"""A small history loaded and built by `perps` in this process, and judged against the simulator."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

from psycopg2 import sql

from extract.database.database import Database
from extract.deribit.client import DeribitClient
from extract.simulator import RunningSimulator
from tests.support.exchange import BTC, ETH, set_clock, set_faults
from tests.support.ledger import Injected, judge, record
from tests.support.people import run_here
from tests.support.perps import Perps, Result, perps_environment, run_program
from tests.support.proxy import Link, proxied
from tests.support.truth import rows, table, truth

INSTRUMENTS = (BTC, ETH)
START, END = "2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z"
CANDLES = 2 * 2 * 1440
BACKFILL = (
    *("backfill", "--instruments", *INSTRUMENTS, "--start", START, "--end", END),
    *("--requests-per-second", "1000"),
)
BUILD = ("dbt", "--", "run", "--select", "+perpetuals_ohlcv")
A_COPY_IS_UNDER_WAY = 150_000
"""Bytes sent on one connection: only the copy of candles has that many, about 500,000 here."""


@dataclass
class Flow:
    """A database, an exchange and the commands between them.

    Attributes:
        database: where to land and build.
        exchange: whom to ask.
        perps: the suite's fixture, for dbt.
        environment: of a person's shell.
        recovery_s: seconds of the commands since the last fault.
    """

    database: Database
    exchange: RunningSimulator
    perps: Perps
    environment: Mapping[str, str]
    recovery_s: float = field(default=0.0, init=False)

    def command(self, *arguments: str, through: Database | None = None, **env: str) -> Result:
        """Run `perps` in this process, by another way to the database if one is given."""
        reached = through or self.database
        variables = perps_environment(self.environment, reached, self.exchange.base_url, env)
        hasty = partial(DeribitClient, sleep=lambda _: None)
        with patch("extract.cli.shared.DeribitClient", hasty):
            return run_here(*arguments, env=variables)

    def expect(self, *arguments: str, **env: str) -> Result:
        """Run a command that nothing disturbs, and count its time; it must succeed."""
        began = time.monotonic()
        if arguments[0] == "dbt":
            result = self.perps(*arguments, database=self.database, api=self.exchange.base_url, env=env)
        else:
            result = self.command(*arguments, through=None, **env)
        self.recovery_s += time.monotonic() - began
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    def spawn(self, *arguments: str, code: str = "pass", **env: str) -> Result:
        """Run `perps` in a process of its own, after other code."""
        variables = perps_environment(self.environment, self.database, self.exchange.base_url, env)
        start = f"import sys; {code}; from extract.cli.main import main; sys.exit(main())"
        return run_program([sys.executable, "-c", start, *arguments], variables, timeout=120)

    @contextmanager
    def inside_a_copy(self, act: Callable[[Link], None]) -> Iterator[Database]:
        """Yield a way to the database that does something once, in the middle of the copy of candles."""
        with proxied(self.database) as (proxy, through):
            proxy.once(A_COPY_IS_UNDER_WAY, act)
            yield through
            assert proxy.triggered, "no copy came this way"

    def recover(self, group: str, fault: str, *commands: tuple[str, ...]) -> None:
        """Run commands undisturbed, by default the backfill and the build, and enter what came of a fault."""
        self.recovery_s = 0.0
        for command in commands or (BACKFILL, BUILD):
            self.expect(*command)
        self.judge(group, fault)

    def judge(self, group: str, fault: str, *ranges: tuple[str, str]) -> None:
        """Compare the table with the truth of ranges row by row, and enter what came of a fault."""
        api, wanted = self.exchange.base_url, ranges or [(START, END)]
        true = [row for name in INSTRUMENTS for start, end in wanted for row in truth(api, name, start, end)]
        assert len(true) >= CANDLES / 2
        record(Injected(group, fault, *judge(table(self.database), true), round(self.recovery_s, 2)))

    def set_clock(self, now: str) -> None:
        """Set the exchange's clock."""
        set_clock(self.exchange, now)

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Have the exchange make these faults and no other."""
        set_faults(self.exchange, *faults)


def empty(database: Database) -> None:
    """Take back everything that loads and builds have made."""
    tables = rows(database, "select tablename from pg_tables where schemaname = 'public'")
    execute(
        database,
        *(f"drop table public.{name} cascade" for (name,) in tables),
        "drop schema if exists deribit_raw, staging, quality, test_failures cascade",
    )


def execute(database: Database, *statements: str | sql.Composed) -> None:
    """Run statements, each in a transaction of its own."""
    with database.reading() as cursor:
        for statement in statements:
            cursor.execute(statement)
