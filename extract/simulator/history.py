"""Funding and settlements as a request sees them: parameters checked, rows limited, pages cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extract.simulator.faultbook import Asked, FaultBook
from extract.simulator.funding import FUNDING_ROWS, funding, realised
from extract.simulator.lifetime import Lifetime
from extract.simulator.market import Source
from extract.simulator.reply import invalid
from extract.simulator.tables import Row, objects

FUNDING, FUNDING_VALUE = "get_funding_rate_history", "get_funding_rate_value"
HISTORY = (FUNDING, FUNDING_VALUE)


class History:
    """The funding and settlements of a market at `now_ms` (UTC ms), with the faults of the market."""

    def __init__(self, market: Source, faults: FaultBook, now_ms: int) -> None:
        self._market, self._faults, self._now_ms = market, faults, now_ms

    def answer(self, asked: Asked, query: Mapping[str, str]) -> Any:
        """Return the `result` of a request of one of the methods of HISTORY; raises RequestError."""
        life = self._lifetime(asked, query)
        if asked.start_ms is None:
            raise invalid("start_timestamp", "value must be an integer")
        if asked.end_ms is None:
            raise invalid("end_timestamp", "value must be an integer")
        if asked.method == FUNDING:
            return objects(funding(life, asked.start_ms, asked.end_ms, FUNDING_ROWS))
        # presumed to add interest_1h of all rows, however many: months work (FACTS: seen)
        return float(realised(life, asked.start_ms, asked.end_ms)["interest_1h"].sum())

    def rows(self, _endpoint: str, instrument: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the rows with `start_ms <= timestamp < end_ms`, ascending; `endpoint` is funding."""
        life = self._life(instrument)
        return objects(funding(life, start_ms - 1, end_ms - 1))

    def _lifetime(self, asked: Asked, query: Mapping[str, str]) -> Lifetime:
        for name in ("instrument_name", "start_timestamp", "end_timestamp"):
            if not query.get(name):
                raise invalid(name, "required parameter is missing")
        listing = self._market.listings.get(asked.instrument or "")
        if listing is None or listing.created_ms > self._now_ms:
            raise invalid("instrument_name", "instrument not found")
        return self._life(listing.name)

    def _life(self, instrument: str) -> Lifetime:
        listing = self._market.listings[instrument]
        return Lifetime(self._market, listing, self._now_ms, self._faults.gone(instrument))
