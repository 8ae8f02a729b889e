"""The simulated exchange of a scenario: its own listings, its faults, and how many of them really hit."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from extract.load.endpoint import FUNDING, SETTLEMENTS
from extract.simulator.clock import Clock
from extract.simulator.credits import Credits
from extract.simulator.faultbook import Asked, FaultBook
from extract.simulator.faultparsing import parse_faults
from extract.simulator.faults import KINDS, ReplyFault
from extract.simulator.http import SimulatorServer
from extract.simulator.listings import DEFAULT
from extract.simulator.market import Market
from extract.simulator.simulator import Simulator
from tests.faults.promise.replies import Fault
from tests.faults.promise.scenario import Scenario
from tests.support.truth import rounded

KIND_OF = {kind: name for name, kind in KINDS.items()}


class CountingBook(FaultBook):
    """Counts which faults really hit a request."""

    def __init__(self, seed: int) -> None:
        super().__init__((), seed)
        self.hits: Counter[str] = Counter()

    def due(self, asked: Asked) -> list[ReplyFault]:
        found = super().due(asked)
        self.hits.update(KIND_OF[type(fault)] for fault in found)
        return found


@dataclass(frozen=True)
class Exchange:
    """The simulated exchange of a scenario."""

    scenario: Scenario
    simulator: Simulator
    book: CountingBook
    url: str

    def now_ms(self) -> int:
        return self.simulator.clock.now_ms()

    def misbehave(self, faults: Sequence[Fault]) -> None:
        """Put faults of replies in force, beside those of the market, which stay."""
        self.book.replace(parse_faults([*self.scenario.market, *faults]))

    def truth(self) -> dict[tuple[str, int], tuple[Any, ...]]:
        """Return every closed candle of every instrument to its end, with the table's eight decimals."""
        view, now = self.simulator.view(), self.now_ms()
        found = {}
        for name, listing in self.simulator.market.listings.items():
            if listing.created_ms > now:
                continue
            # what goes on without being listed stands still, and is not to be landed
            listed = self.book.listed_at(name, listing.created_ms, now) is not None
            true = view.truth(name, "1", 0, now if listed else self.scenario.delisted_ms or now)
            columns = (true.open, true.high, true.low, true.close, true.volume)
            values = zip(*(column.tolist() for column in columns), strict=True)
            for tick, row in zip(true.ticks.tolist(), values, strict=True):
                found[name, tick] = tuple(rounded(repr(value)) for value in row)
        return found

    def others(self) -> dict[tuple[str, str, int], tuple[Any, ...]]:
        """Return every row of funding and settlements by endpoint, instrument and time, UTC ms."""
        history, now = self.simulator.history(), self.now_ms()
        return {
            (endpoint.table, name, row["timestamp"]): tuple(row[value] for value in endpoint.values)
            for endpoint in (FUNDING, SETTLEMENTS)
            for name, listing in self.simulator.market.listings.items()
            if listing.created_ms <= now
            for row in history.rows(endpoint.table, name, 0, now + 1)
        }


@contextmanager
def open_exchange(scenario: Scenario) -> Iterator[Exchange]:
    """Yield the exchange of a scenario, listening."""
    shapes = {listing.name: listing for listing in DEFAULT}
    listings = [replace(shapes[name], created_ms=created) for name, created in scenario.created_ms.items()]
    book = CountingBook(scenario.seed)
    credits = Credits(None)
    simulator = Simulator(
        Market(scenario.seed, listings), Clock(scenario.clock_ms), credits, book, instrument_credits=credits
    )
    server = SimulatorServer(simulator, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        exchange = Exchange(scenario, simulator, book, server.base_url)
        exchange.misbehave(())
        yield exchange
    finally:
        server.stop()
        thread.join()
