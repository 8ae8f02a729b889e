"""Funding and settlements as a request sees them: parameters checked, rows limited, pages cut."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from extract.simulator import faults as f
from extract.simulator.asking import MOST_SETTLEMENTS, SETTLEMENTS_BY_DEFAULT, integer, upper
from extract.simulator.faultbook import Asked, FaultBook
from extract.simulator.funding import FUNDING_ROWS, funding, realised
from extract.simulator.lifetime import Lifetime
from extract.simulator.market import Source
from extract.simulator.pages import PageRequest, page
from extract.simulator.reply import invalid
from extract.simulator.settlements import settlements
from extract.simulator.tables import Row, objects

HISTORY = (f.FUNDING, f.FUNDING_VALUE, f.SETTLEMENTS)
_TYPES = ("settlement", "delivery", "bankruptcy")


class History:
    """The funding and settlements of a market at `now_ms` (UTC ms), with the faults of the market."""

    def __init__(self, market: Source, faults: FaultBook, now_ms: int) -> None:
        self._market, self._faults, self._now_ms = market, faults, now_ms

    def answer(self, asked: Asked, query: Mapping[str, str]) -> Any:
        """Return the `result` of a request of one of the methods of HISTORY; raises RequestError."""
        window = () if asked.method == f.SETTLEMENTS else ("start_timestamp", "end_timestamp")
        for name in ("instrument_name", *window):
            if not query.get(name):
                raise invalid(name, "required parameter is missing")
        listing = self._market.listings.get(asked.instrument or "")
        if listing is None or listing.created_ms > self._now_ms:
            raise invalid("instrument_name", "instrument not found")
        life = self._life(listing.name)
        if asked.method == f.SETTLEMENTS:
            return self._page(life, query)
        if asked.start_ms is None:
            raise invalid("start_timestamp", "value must be an integer")
        if asked.end_ms is None:
            raise invalid("end_timestamp", "value must be an integer")
        if asked.method == f.FUNDING:
            return objects(funding(life, asked.start_ms, asked.end_ms, FUNDING_ROWS))
        # presumed to add interest_1h of all rows, however many: months work (FACTS: seen)
        return float(realised(life, asked.start_ms, asked.end_ms)["interest_1h"].sum())

    def rows(self, endpoint: str, instrument: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the rows with `start_ms <= timestamp < end_ms`, ascending; `endpoint` as in ENDPOINTS."""
        life = self._life(instrument)
        if endpoint == "funding":
            return objects(funding(life, start_ms - 1, end_ms - 1))
        return objects(settlements(life, start_ms, end_ms - 1))

    def _page(self, life: Lifetime, query: Mapping[str, str]) -> dict[str, Any]:
        kind, typed = query.get("type", "settlement"), query.get("count")
        count = SETTLEMENTS_BY_DEFAULT if typed is None else integer(typed)
        if kind not in _TYPES:
            raise invalid("type", "unsupported type")
        if count is None or not 1 <= count <= MOST_SETTLEMENTS:
            raise invalid("count", f"value must be from 1 to {MOST_SETTLEMENTS}")
        upper_ms = upper(query)
        for name in ("continuation", "search_start_timestamp"):
            if query.get(name) and upper_ms is None:
                raise invalid(name, "invalid value")
        if kind != "settlement":
            return {"continuation": "none", "settlements": []}
        upper_ms = self._now_ms if upper_ms is None else upper_ms
        return page(life, PageRequest(count, upper_ms, time.monotonic_ns()))

    def _life(self, instrument: str) -> Lifetime:
        listing = self._market.listings[instrument]
        return Lifetime(self._market, listing, self._now_ms, self._faults.gone(instrument))
