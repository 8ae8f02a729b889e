"""Simulators of the exchange that tests ask, and what those were asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from extract.simulator import RunningSimulator, SimulatorConfig, running
from extract.simulator.simulator import Served
from tests.support.truth import control

BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"


@contextmanager
def simulated(**config: Any) -> Iterator[RunningSimulator]:
    """Yield a simulator with a `SimulatorConfig` as given, by default without a limit of requests."""
    with running(SimulatorConfig(**{"requests_per_second": None, **config})) as exchange:
        yield exchange


def set_clock(exchange: RunningSimulator, now: str) -> None:
    control(exchange.base_url, "clock", {"now": now})


def set_faults(exchange: RunningSimulator, *faults: dict[str, Any]) -> None:
    """Have the exchange make these faults and no other."""
    control(exchange.base_url, "faults", list(faults))


def calm(exchange: RunningSimulator, now: str) -> None:
    """Take back the faults, forget what was asked, and set the clock."""
    set_clock(exchange, now)
    set_faults(exchange)
    exchange.simulator.log.clear()


def charts(exchange: RunningSimulator) -> list[Served]:
    """Return the requests of candles since the log was cleared."""
    return [entry for entry in exchange.simulator.log if entry.method == "get_tradingview_chart_data"]
