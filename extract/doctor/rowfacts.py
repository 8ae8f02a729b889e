"""The facts about funding and settlements, each checked with one or a few requests; see `facts`."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from extract.core.resolution import DAY_MS, HOUR_MS
from extract.doctor.contract import INSTRUMENT, Exchange, Fact, UnseenError

FUNDING_LIMIT = 744  # rows in one reply (seen)
PAGE, MOST_PAGES = 1_000, 20  # rows in a page (doc); as many pages as hold half a century of days
SETTLED_MS = 8 * HOUR_MS  # 08:00 UTC

Row = dict[str, Any]


def numbers(from_ms: int, times_ms: list[int], step_ms: int) -> str:
    """Return times as numbers of steps since `from_ms`; all in ms."""
    return ", ".join(f"{(at_ms - from_ms) / step_ms:g}" for at_ms in times_ms)


def funding_limit(exchange: Exchange) -> str:
    """A longer window is silently cut (seen)."""
    end_ms = exchange.hour_ms
    stamps = _stamps(_funding(exchange, end_ms - (FUNDING_LIMIT + 10) * HOUR_MS, end_ms))
    return f"{len(stamps)} rows, {'the newest' if stamps[-1:] == [end_ms] else 'not the newest'}"


def funding_ends(exchange: Exchange) -> str:
    """The start is exclusive, the end inclusive (seen)."""
    stamps = _stamps(_funding(exchange, exchange.hour_ms, exchange.hour_ms + 3 * HOUR_MS))
    return f"hours 0 to 3 return {numbers(exchange.hour_ms, stamps, HOUR_MS)}"


def funding_hours(exchange: Exchange) -> str:
    """There is a row at each whole UTC hour, ascending (inferred)."""
    end_ms = exchange.hour_ms
    stamps = _stamps(_funding(exchange, end_ms - DAY_MS, end_ms))
    whole = [end_ms - back * HOUR_MS for back in reversed(range(24))]
    return "every whole hour, ascending" if stamps == whole else f"{len(stamps)} rows at other times"


def funding_chain(exchange: Exchange) -> str:
    """`prev_index_price` is the `index_price` of the row before (reported)."""
    end_ms = exchange.hour_ms
    rows = _funding(exchange, end_ms - DAY_MS // 2, end_ms)
    if len(rows) < 2:
        raise UnseenError(f"only {len(rows)} rows in half a day")
    odd = [after for before, after in pairwise(rows) if after["prev_index_price"] != before["index_price"]]
    return f"{len(odd)} of {len(rows) - 1} are otherwise" if odd else "the index price of the row before"


def funding_value(exchange: Exchange) -> str:
    """`get_funding_rate_value` adds the rates of its window (presumed); whether weighted is unknown."""
    end_ms = exchange.hour_ms
    start_ms = end_ms - 2 * DAY_MS
    rows = _funding(exchange, start_ms, end_ms)
    if not rows:
        raise UnseenError("no funding in two days")
    value = exchange.client.request("get_funding_rate_value", _window(start_ms, end_ms)).result
    plain = sum(row["interest_1h"] for row in rows)
    first = rows[0]["prev_index_price"]
    weighted = first * sum(row["interest_1h"] / row["prev_index_price"] for row in rows)
    if math.isclose(value, plain, rel_tol=1e-6, abs_tol=1e-12):
        return VALUES[0]
    if math.isclose(value, weighted, rel_tol=1e-3, abs_tol=1e-8):
        return VALUES[1]
    return f"{value:g}, and neither sum of interest_1h, {plain:g} or {weighted:g}"


def settlement_order(exchange: Exchange) -> str:
    """A page begins with its newest row (seen)."""
    stamps = _stamps(_page(exchange, count=5)["settlements"])
    descending = stamps == sorted(set(stamps), reverse=True)
    return f"{len(stamps)} of 5 rows, {'newest first' if descending else 'in another order'}"


def settlement_days(exchange: Exchange) -> str:
    """There is one a day, within an hour after 08:00 UTC (seen; once over an hour late)."""
    stamps = _stamps(_page(exchange, count=10)["settlements"])
    days = [stamp // DAY_MS for stamp in stamps]
    late_ms = max((stamp % DAY_MS - SETTLED_MS for stamp in stamps), key=abs, default=0)
    if not 0 <= late_ms < HOUR_MS:
        return f"{late_ms / HOUR_MS:.1f} hours from 08:00"
    missing = [before for before, after in pairwise(days) if before - after != 1]
    return f"{len(missing)} of {len(days)} are not the next day's" if missing else "one a day, from 08:00"


def settlement_search(exchange: Exchange) -> str:
    """`search_start_timestamp` is the upper bound (doc)."""
    upper_ms = (exchange.hour_ms - 30 * DAY_MS) // DAY_MS * DAY_MS
    stamps = _stamps(_page(exchange, count=2, search_start_timestamp=upper_ms)["settlements"])
    if not stamps:
        return "no row"
    days = (stamps[0] - upper_ms) // DAY_MS
    return "the newest before the start" if days == -1 else f"the newest lies {days} days after the start"


def settlement_count(exchange: Exchange) -> str:
    """A page of 1,000 is admitted (doc); younger perpetuals have fewer days."""
    return f"{len(_page(exchange, count=PAGE)['settlements']):,} rows for a count of {PAGE:,}"


def settlement_pages(exchange: Exchange) -> str:
    """Pages go on with older rows to an end, of which three forms are known to clients (reported)."""
    page = _page(exchange, count=PAGE)
    oldest_ms = page["settlements"][-1]["timestamp"]
    for _ in range(MOST_PAGES):
        token = page["continuation"]
        if token in (None, "", "none"):
            return _ending("null" if token is None else f"the token {token!r}")
        page = _page(exchange, count=PAGE, continuation=token)
        stamps = _stamps(page["settlements"])
        if not stamps:
            return _ending("an empty page")
        if max(stamps) >= oldest_ms:
            return "a page that is not older than the one before"
        oldest_ms = min(stamps)
    return f"no end within {MOST_PAGES} pages"


def _ending(how: str) -> str:
    return f"ever older pages, then {how}"


def _funding(exchange: Exchange, start_ms: int, end_ms: int) -> list[Row]:
    rows: list[Row] = exchange.client.request("get_funding_rate_history", _window(start_ms, end_ms)).result
    return rows


def _window(start_ms: int, end_ms: int) -> Row:
    return {"instrument_name": INSTRUMENT, "start_timestamp": start_ms, "end_timestamp": end_ms}


def _page(exchange: Exchange, **params: Any) -> dict[str, Any]:
    query = {"instrument_name": INSTRUMENT, "type": "settlement", **params}
    page: dict[str, Any] = exchange.client.request("get_last_settlements_by_instrument", query).result
    return page


def _stamps(rows: list[Row]) -> list[int]:
    return [row["timestamp"] for row in rows]


CLIENT, ENDPOINT, MONTHS = (
    f"extract/{name}.py" for name in ("deribit/client", "load/endpoint", "check/funding_months")
)
PAGES, CHAIN = "extract/deribit/settlements.py", "dbt_project/tests/funding_chain.sql"
VALUES = ("the sum of interest_1h", "the sum of interest_1h by the index")
ENDS = tuple(_ending(how) for how in ("the token 'none'", "null", "an empty page"))

ROW_FACTS = (
    Fact("funding: limit", (f"{FUNDING_LIMIT} rows, the newest",), ENDPOINT, funding_limit),
    Fact("funding: ends", ("hours 0 to 3 return 1, 2, 3",), CLIENT, funding_ends),
    Fact("funding: hours", ("every whole hour, ascending",), ENDPOINT, funding_hours),
    Fact("funding: chain", ("the index price of the row before",), CHAIN, funding_chain),
    Fact(
        "funding: value",
        ("the sum of interest_1h", "the sum of interest_1h by the index"),
        MONTHS,
        funding_value,
    ),
    Fact("settlements: order", ("5 of 5 rows, newest first",), PAGES, settlement_order),
    Fact("settlements: days", ("one a day, from 08:00",), ENDPOINT, settlement_days),
    Fact("settlements: start", ("the newest before the start",), CLIENT, settlement_search),
    Fact("settlements: count", (f"{PAGE:,} rows for a count of {PAGE:,}",), CLIENT, settlement_count),
    Fact("settlements: pages", ENDS, PAGES, settlement_pages),
)
"""It is unknown how pages end, and which sum `get_funding_rate_value` is; the code works with each result."""
