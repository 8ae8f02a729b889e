"""Replies about funding and settlements: checks parameters, limits rows, cuts pages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from extract.simulator import faults as f
from extract.simulator.faultbook import Asked, FaultBook
from extract.simulator.funding import FUNDING_ROWS, funding, realised
from extract.simulator.lifetime import Lifetime
from extract.simulator.market import Source
from extract.simulator.methods import FUNDING, FUNDING_VALUE, SETTLEMENTS
from extract.simulator.pages import continuation, token
from extract.simulator.parameters import MOST_SETTLEMENTS, SETTLEMENTS_BY_DEFAULT, integer, upper
from extract.simulator.reply import invalid
from extract.simulator.rowdistort import distort_rows, most_rows
from extract.simulator.settlements import settlements
from extract.simulator.tables import Row, Table, objects, revised

HISTORY = (FUNDING, FUNDING_VALUE, SETTLEMENTS)
ENDPOINTS = {"funding": FUNDING, "settlements": SETTLEMENTS}
"""By endpoint, the method that returns its rows. See `History.rows`."""

_TYPES = ("settlement", "delivery", "bankruptcy")


class History:
    """The funding and settlements of a market at `now_ms` (UTC ms), with the faults of the market."""

    def __init__(self, market: Source, faults: FaultBook, now_ms: int) -> None:
        self._market, self._faults, self._now_ms = market, faults, now_ms

    def answer(self, request: Asked, query: Mapping[str, str], due: Sequence[f.ReplyFault] = ()) -> Any:
        """Return the `result` of a request of one of the methods of HISTORY; raises RequestError."""
        window = () if request.method == SETTLEMENTS else ("start_timestamp", "end_timestamp")
        for name in ("instrument_name", *window):
            if not query.get(name):
                raise invalid(name, "required parameter is missing")
        listing = self._market.listings.get(request.instrument or "")
        if listing is None or listing.created_ms > self._now_ms:
            raise invalid("instrument_name", "instrument not found")
        life = self._life(listing.name)
        if request.method == SETTLEMENTS:
            return self._page(life, query, due)
        if request.start_ms is None:
            raise invalid("start_timestamp", "value must be an integer")
        if request.end_ms is None:
            raise invalid("end_timestamp", "value must be an integer")
        if request.method == FUNDING:
            most = most_rows(FUNDING_ROWS, due)
            table = self._revised(FUNDING, life, funding(life, request.start_ms, request.end_ms, most))
            return distort_rows(objects(table), due)
        # presumed to add interest_1h of all rows, however many: months work (FACTS: seen)
        rates = self._revised(FUNDING, life, realised(life, request.start_ms, request.end_ms))
        return float(rates["interest_1h"].sum())

    def rows(self, endpoint: str, instrument: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the rows of one of ENDPOINTS with `start_ms <= timestamp < end_ms`, ascending."""
        life = self._life(instrument)
        if ENDPOINTS[endpoint] == FUNDING:
            return objects(self._revised(FUNDING, life, funding(life, start_ms - 1, end_ms - 1)))
        return objects(self._settlements(life, start_ms, end_ms - 1))

    def _settlements(self, life: Lifetime, start_ms: int, end_ms: int, most: int | None = None) -> Table:
        return self._revised(SETTLEMENTS, life, settlements(life, start_ms, end_ms, most))

    def _revised(self, method: str, life: Lifetime, table: Table) -> Table:
        return revised(table, self._faults.revised(method, life.listing.name, self._now_ms))

    def _page(self, life: Lifetime, query: Mapping[str, str], due: Sequence[f.ReplyFault]) -> dict[str, Any]:
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
        rows = objects(self._settlements(life, 0, upper_ms, most_rows(count, due)))[::-1]
        oldest_ms = rows[-1]["timestamp"] if rows else upper_ms
        loops = any(isinstance(fault, f.LoopingPages) for fault in due)
        nonce = time.monotonic_ns()
        following = (
            token(life.listing.name, upper_ms, nonce) if loops else continuation(life, oldest_ms, nonce)
        )
        return {"continuation": following, "settlements": distort_rows(rows, due, newest_first=True)}

    def _life(self, instrument: str) -> Lifetime:
        listing = self._market.listings[instrument]
        return Lifetime(self._market, listing, self._now_ms, self._faults.gone(instrument))
