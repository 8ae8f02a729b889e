"""Reads the parameters of a request, which arrive as text."""

from __future__ import annotations

from collections.abc import Mapping

from extract.simulator.faultbook import Asked
from extract.simulator.methods import CHART, FUNDING, FUNDING_VALUE, SETTLEMENTS
from extract.simulator.pages import read_token
from extract.simulator.settlements import DAY_MS

MOST_SETTLEMENTS, SETTLEMENTS_BY_DEFAULT = 1_000, 20
"""Most rows in a page, and rows without `count` (FACTS: doc)."""


def read_request(method: str, query: Mapping[str, str], now_ms: int) -> Asked:
    """Return what faults match on in a request; a bound that is not a number counts as absent."""
    if method == SETTLEMENTS:
        upper_ms = upper(query)
        end_ms = (now_ms // DAY_MS + 1) * DAY_MS if upper_ms is None else upper_ms
        days = integer(query.get("count")) or SETTLEMENTS_BY_DEFAULT
        return Asked(method, query.get("instrument_name"), None, end_ms - days * DAY_MS, end_ms)
    if method in (CHART, FUNDING, FUNDING_VALUE):
        start, end = integer(query.get("start_timestamp")), integer(query.get("end_timestamp"))
        resolution = query.get("resolution") if method == CHART else None
        return Asked(method, query.get("instrument_name"), resolution, start, end)
    return Asked(method)


def upper(query: Mapping[str, str]) -> int | None:
    """Return the newest time (UTC ms, inclusive) of the requested page of settlements; None: no bound."""
    if query.get("continuation"):
        return read_token(query.get("instrument_name", ""), query["continuation"])
    return integer(query.get("search_start_timestamp"))


def integer(text: str | None) -> int | None:
    """Return a parameter as a whole number, None if it is not one."""
    return int(text) if text and text.removeprefix("-").isdecimal() and len(text) < 18 else None
