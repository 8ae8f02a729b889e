"""Faults on demand, written as JSON objects such as

    {"kind": "http", "status": 502, "times": 2, "instrument": "BTC-PERPETUAL", "start": "2024-01-01"}

Times are ISO (without a zone: UTC) or ms. Faults of a reply apply to requests that match all of:
`instrument`, `resolution`; `start` and `end` (exclusive): the requested window overlaps them; `method`
(default get_tradingview_chart_data, "any" for every method). Of the matching requests, the first `skip` pass,
and the next `times` are hit (default all), each with `probability` (drawn from the seed, so a rerun draws the
same). With `per_window` true, skip and times count separately for each window. The window of a page of
settlements is the `count` days up to its newest. An outage of one method: {"kind": "http", "method": METHOD}.

Instead of a reply:
- http: `status` (default 503, 200 too) with a proxy's HTML page, or an empty body with `html` false;
  `retry_after` adds that header (s).
- error: JSON-RPC error `code` (default 10028) with HTTP `status` (default 400) and `retry_after`.
- reset: the connection is reset before a byte is sent.
A reply damaged on the wire:
- hang: the reply comes after `seconds` (default 3600).
- truncated: the JSON stops after the fraction `keep` (default 0.5), with that content-length.
- content_length: the header promises `delta` bytes more than are sent (default 64); the connection closes.
- wire: any other change, applied in this order: another `status`; the text `body` instead of the reply's; the
  first `find` in it replaced with `put`; the body sent `repeat` times; `coding` (gzip; not-gzip, whose header
  claims gzip; or a text encoding such as utf-8-sig); a header `location`; `drip` seconds after each byte; the
  connection reset after `reset_after` bytes.
A reply with wrong content (rows count from 0, negative from the end; a reply without the row stays as it is):
- unequal: `column` (default close) is one shorter. missing: `column` is absent.
- duplicate_tick: the tick of `row` (default -1) repeats the one before. unordered: `row` is swapped with the
  one before. off_grid: the tick of `row` is `by_ms` late (default 1000).
- value: `column` at `row` reads `value`: null, a number, text, or (given as text) bare NaN, Infinity, 1e400.
- empty: status no_data and no rows, though there are some. status: `status` reads so (default "weird").
- drop_first: the oldest `rows` (default 1) are missing. max_rows: at most the newest `rows` (default 1000).
For funding and settlements there are empty (no rows), drop_first and max_rows, if `method` names them, and
- bad_row: `column` (default timestamp) at `row` reads `value` (default null), as above; method is
  get_funding_rate_history by default. repeated_row: `row` occurs twice; the same default.
- looping_pages: a page of get_last_settlements_by_instrument is continued by itself.
Faults of the market, in every reply and in the truth; coarser resolutions are aggregated after them:
- outage: candles of [`start`, `end`) do not exist; `instrument` optional.
- bad_candle: the finest candle of `instrument` opening at `at` has `values`, {"high": 1, "volume": "NaN"}.
- revision: the same, from the clock time `since` on.
- delisted: from `at` on `instrument` is not listed, and its candles are flat at the last price, volume 0.
- relisted: from `at` on `instrument` is listed (again), as created then; its older candles stay.
  Funding and settlements have no rows while a perpetual is delisted. Outages concern candles only.
- row_revision: the row of `instrument` with the time `at` has `values`, such as {"interest_1h": 1e-5}, from
  the clock time `since` (default always) on; of `method`, get_funding_rate_history by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from extract.simulator.marketfaults import (
    BadCandle,
    Delisted,
    Fault,
    Outage,
    Relisted,
    Revision,
    RowRevision,
)
from extract.simulator.methods import CHART, FUNDING, SETTLEMENTS


@dataclass(frozen=True)
class ReplyFault(Fault):
    """A fault of single replies; `start` and `end` in ms, the other fields as the module says."""

    resolution: str | None = None
    start: int | None = None
    end: int | None = None
    method: str = CHART
    skip: int = 0
    times: int | None = None
    probability: float = 1.0
    per_window: bool = False


@dataclass(frozen=True)
class Http(ReplyFault):
    """Reply with an HTTP status and no JSON."""

    status: int = 503
    html: bool = True
    retry_after: float | None = None


@dataclass(frozen=True)
class RpcError(ReplyFault):
    """Reply with a JSON-RPC error."""

    code: int = 10028
    status: int = 400
    retry_after: float | None = None


@dataclass(frozen=True)
class Reset(ReplyFault):
    """Reset the connection."""


@dataclass(frozen=True)
class Hang(ReplyFault):
    """Reply late."""

    seconds: float = 3600


@dataclass(frozen=True)
class Truncated(ReplyFault):
    """Cut the body."""

    keep: float = 0.5


@dataclass(frozen=True)
class ContentLength(ReplyFault):
    """Promise more bytes than are sent."""

    delta: int = 64


@dataclass(frozen=True)
class Wire(ReplyFault):
    """Rewrite a finished reply."""

    status: int | None = None
    body: str | None = None
    find: str | None = None
    put: str = ""
    repeat: int = 1
    coding: str | None = None
    location: str | None = None
    drip: float = 0
    reset_after: int | None = None


@dataclass(frozen=True)
class Unequal(ReplyFault):
    """Shorten one column."""

    column: str = "close"


@dataclass(frozen=True)
class Missing(ReplyFault):
    """Leave one column out."""

    column: str = "close"


@dataclass(frozen=True)
class DuplicateTick(ReplyFault):
    """Repeat a tick."""

    row: int = -1


@dataclass(frozen=True)
class Unordered(ReplyFault):
    """Swap two neighbouring rows."""

    row: int = -1


@dataclass(frozen=True)
class OffGrid(ReplyFault):
    """Move a tick off its bucket."""

    row: int = -1
    by_ms: int = 1000


@dataclass(frozen=True)
class Value(ReplyFault):
    """Put something that is no price into a column."""

    column: str = "close"
    row: int = -1
    value: Any = None


@dataclass(frozen=True)
class Empty(ReplyFault):
    """Reply with status no_data and empty arrays."""


@dataclass(frozen=True)
class Status(ReplyFault):
    """Reply with an unknown status."""

    status: str = "weird"


@dataclass(frozen=True)
class DropFirst(ReplyFault):
    """Leave the oldest rows out."""

    rows: int = 1


@dataclass(frozen=True)
class MaxRows(ReplyFault):
    """Limit a reply to its newest rows."""

    rows: int = 1000


@dataclass(frozen=True)
class BadRow(ReplyFault):
    """Put something else into a row of funding or settlements."""

    method: str = FUNDING
    column: str = "timestamp"
    row: int = -1
    value: Any = None


@dataclass(frozen=True)
class RepeatedRow(ReplyFault):
    """Send a row of funding or settlements twice."""

    method: str = FUNDING
    row: int = -1


@dataclass(frozen=True)
class LoopingPages(ReplyFault):
    """Continue a page of settlements with itself."""

    method: str = SETTLEMENTS


KINDS: dict[str, type[Fault]] = {
    "http": Http,
    "error": RpcError,
    "reset": Reset,
    "hang": Hang,
    "truncated": Truncated,
    "content_length": ContentLength,
    "wire": Wire,
    "unequal": Unequal,
    "missing": Missing,
    "duplicate_tick": DuplicateTick,
    "unordered": Unordered,
    "off_grid": OffGrid,
    "value": Value,
    "empty": Empty,
    "status": Status,
    "drop_first": DropFirst,
    "max_rows": MaxRows,
    "bad_row": BadRow,
    "repeated_row": RepeatedRow,
    "looping_pages": LoopingPages,
    "outage": Outage,
    "bad_candle": BadCandle,
    "revision": Revision,
    "delisted": Delisted,
    "relisted": Relisted,
    "row_revision": RowRevision,
}
