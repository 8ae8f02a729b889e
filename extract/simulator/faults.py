"""Faults on demand, written as JSON objects such as

    {"kind": "http", "status": 502, "times": 2, "instrument": "BTC-PERPETUAL", "start": "2024-01-01"}

Times are ISO (UTC where no zone is given) or ms. Faults of a reply hit requests that match all of:
`instrument`, `resolution`; `start` and `end` (exclusive): the asked window overlaps them; `method` (default
get_tradingview_chart_data, "any" for every method). Of the matching requests the first `skip` pass, then
`times` are hit (default all), each with `probability` (drawn from the seed, so a rerun draws the same); with
`per_window` true, skip and times count for each asked window by itself.

Instead of a reply:
- http: `status` (default 503, 200 too) with a proxy's HTML page, or an empty body with `html` false;
  `retry_after` adds that header (s).
- error: JSON-RPC error `code` (default 10028) with HTTP `status` (default 400) and `retry_after`.
- reset: the connection is reset before a byte is sent.
A reply damaged on the wire:
- hang: the reply comes after `seconds` (default 3600).
- truncated: the JSON stops after the share `keep` (default 0.5), content-length says so.
- content_length: the header promises `delta` bytes more than are sent (default 64); the connection closes.
- wire: whatever else; of these, in this order: another `status`, the text `body` instead of the reply's, the
  first `find` in it reads `put`, the body comes `repeat` times, as `coding` (gzip, not-gzip that only says
  so, or one of text such as utf-8-sig), with a `location`, byte by byte with `drip` seconds after each, or
  with a reset of the connection `reset_after` bytes.
A reply with wrong content (rows count from 0, negative from the end; a reply without the row stays as it is):
- unequal: `column` (default close) is one shorter. missing: `column` is absent.
- duplicate_tick: the tick of `row` (default -1) repeats the one before. unordered: `row` is swapped with the
  one before. off_grid: the tick of `row` is `by_ms` late (default 1000).
- value: `column` at `row` reads `value`: null, a number, text, or (given as text) bare NaN, Infinity, 1e400.
- empty: status no_data and no rows, though there are some. status: `status` reads so (default "weird").
- drop_first: the oldest `rows` (default 1) are missing. max_rows: at most the newest `rows` (default 1000).
Faults of the market, in every reply and in the truth; coarser resolutions are made of what they leave:
- outage: candles of [`start`, `end`) do not exist; `instrument` optional.
- bad_candle: the finest candle of `instrument` opening at `at` has `values`, {"high": 1, "volume": "NaN"}.
- revision: the same, from the clock time `since` on.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from extract.errors import UsageError
from extract.simulator.candles import COLUMNS, VALUES
from extract.simulator.clock import parse_ms

CHART = "get_tradingview_chart_data"


@dataclass(frozen=True)
class Fault:
    """Any fault; `instrument` None means every one."""

    instrument: str | None = None


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
    """Answer with an HTTP status and no JSON."""

    status: int = 503
    html: bool = True
    retry_after: float | None = None


@dataclass(frozen=True)
class RpcError(ReplyFault):
    """Answer with a JSON-RPC error."""

    code: int = 10028
    status: int = 400
    retry_after: float | None = None


@dataclass(frozen=True)
class Reset(ReplyFault):
    """Reset the connection."""


@dataclass(frozen=True)
class Hang(ReplyFault):
    """Answer late."""

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
    """Say no_data."""


@dataclass(frozen=True)
class Status(ReplyFault):
    """Say an unknown status."""

    status: str = "weird"


@dataclass(frozen=True)
class DropFirst(ReplyFault):
    """Leave the oldest rows out."""

    rows: int = 1


@dataclass(frozen=True)
class MaxRows(ReplyFault):
    """Limit a reply to its newest rows."""

    rows: int = 1000


@dataclass(frozen=True, kw_only=True)
class Outage(Fault):
    """Candles with `start <= tick < end` (ms) do not exist."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class BadCandle(Fault):
    """The candle at tick `at` (ms) has other values."""

    instrument: str
    at: int
    values: MappingProxyType[str, float] = field(hash=False)


@dataclass(frozen=True, kw_only=True)
class Revision(BadCandle):
    """A bad candle from the clock time `since` (ms) on."""

    since: int


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
    "outage": Outage,
    "bad_candle": BadCandle,
    "revision": Revision,
}
_TIMES = {"start", "end", "at", "since"}
_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def parse_faults(items: Any) -> tuple[Fault, ...]:
    """Return the faults of a decoded JSON list; raises UsageError that names the first wrong one."""
    if not isinstance(items, list):
        raise UsageError(f"expected a JSON list of faults, got {type(items).__name__}; wrap it in [ ]")
    return tuple(_parse(item, number) for number, item in enumerate(items))


def _parse(item: Any, number: int) -> Fault:
    kind = item.get("kind") if isinstance(item, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UsageError(f"expected fault {number} of a kind of {', '.join(KINDS)}, got {kind!r}; use one")
    shape = {spec.name: spec for spec in fields(KINDS[kind])}
    given = {name: value for name, value in item.items() if name != "kind"}
    wrong = [name for name in given if name not in shape]
    lacking = [name for name, spec in shape.items() if spec.default is MISSING and name not in given]
    if wrong or lacking:
        problem = f"got {wrong[0]}" if wrong else f"got no {lacking[0]}"
        raise UsageError(
            f"expected fault {number} ({kind}) with the keys {', '.join(shape)}, {problem}; correct it"
        )
    return KINDS[kind](
        **{name: _value(name, str(shape[name].type), value, number) for name, value in given.items()}
    )


def _value(name: str, declared: str, value: Any, number: int) -> Any:
    if name in _TIMES:
        return parse_ms(value, f"{name} of fault {number}")
    if name == "values":
        return _candle_values(value, number)
    if name == "column" and value not in COLUMNS:
        raise UsageError(f"expected column of fault {number} to be of {', '.join(COLUMNS)}, got {value!r}")
    base = declared.removesuffix(" | None")
    allowed = _TYPES.get(base)
    optional = base != declared and value is None
    if allowed and not optional and (type(value) not in allowed):
        raise UsageError(f"expected {name} of fault {number} as {base}, got {value!r}; correct it")
    return value


def _candle_values(values: Any, number: int) -> MappingProxyType[str, float]:
    try:
        if not values or not set(values) <= set(VALUES):
            raise ValueError
        return MappingProxyType({name: float(value) for name, value in values.items()})
    except (AttributeError, TypeError, ValueError):
        raise UsageError(
            f"expected values of fault {number} as numbers for some of {', '.join(VALUES)}, got {values!r}"
        ) from None
