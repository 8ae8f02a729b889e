"""From the parameters of a request, as typed, to what faults and answers need of them."""

from __future__ import annotations

from collections.abc import Mapping

from extract.simulator.faultbook import Asked
from extract.simulator.methods import CHART, FUNDING, FUNDING_VALUE, SETTLEMENTS
from extract.simulator.pages import read_token
from extract.simulator.settlements import DAY_MS

MOST_SETTLEMENTS, SETTLEMENTS_BY_DEFAULT = 1_000, 20
"""Rows in a page (FACTS: doc)."""


def asked(method: str, query: Mapping[str, str], now_ms: int) -> Asked:
    """Return a request as faults see it; what is no number counts as absent."""
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
    """Return up to which time (UTC ms, inclusive) a page of settlements is asked for; None: the newest."""
    if query.get("continuation"):
        return read_token(query.get("instrument_name", ""), query["continuation"])
    return integer(query.get("search_start_timestamp"))


def integer(text: str | None) -> int | None:
    """Return a parameter as a number, None if it is none."""
    return int(text) if text and text.removeprefix("-").isdecimal() and len(text) < 18 else None
