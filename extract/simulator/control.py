"""The endpoints under /simulator/ that only the simulator has: state, clock, faults, request log, truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from extract.errors import UsageError
from extract.simulator.candles import COLUMNS, RESOLUTIONS, Candles
from extract.simulator.clock import parse_ms
from extract.simulator.faultparsing import parse_faults
from extract.simulator.history import ENDPOINTS
from extract.simulator.simulator import Simulator
from extract.simulator.wire import Response

CONTROL_PATH = "/simulator/"
_ROWS_AT_ONCE = 50_000  # rendered as text at a time: a whole history as Python floats takes gigabytes
_Handler = Callable[[Simulator, Mapping[str, str], bytes], Response]


def control(simulator: Simulator, verb: str, name: str, query: Mapping[str, str], body: bytes) -> Response:
    """Return the response to a request under /simulator/; a wrong one gets HTTP 400 and {"error": line}."""
    handler = _HANDLERS.get((verb, name))
    if handler is None:
        known = ", ".join(f"{verb} {CONTROL_PATH}{name}" for verb, name in _HANDLERS)
        return _json({"error": f"expected one of {known}, got {verb} {CONTROL_PATH}{name}"}, 404)
    try:
        return handler(simulator, query, body)
    except UsageError as error:
        return _json({"error": str(error)}, 400)


def truth_csv(candles: Candles) -> str:
    """Return candles as CSV, header first; numbers read back as the same doubles."""
    parts = [",".join(COLUMNS) + "\n"]
    for first in range(0, len(candles), _ROWS_AT_ONCE):
        part = candles.take(slice(first, first + _ROWS_AT_ONCE))
        rows = zip(*(getattr(part, name).tolist() for name in COLUMNS), strict=True)
        parts.append("".join([",".join(map(repr, row)) + "\n" for row in rows]))
    return "".join(parts)


def _state(simulator: Simulator, _query: Mapping[str, str], _body: bytes) -> Response:
    clock = simulator.clock
    counters = dict(simulator.counters)
    return _json({"now_ms": clock.now_ms(), "frozen": clock.frozen, "counters": counters})


def _clock(simulator: Simulator, query: Mapping[str, str], body: bytes) -> Response:
    match _decoded(body):
        case {"now": now}:
            simulator.clock.set(parse_ms(now, "now"))
        case {"advance_ms": int(by_ms)}:
            simulator.clock.advance(by_ms)
        case other:
            raise UsageError(f'expected {{"now": time}} or {{"advance_ms": whole number}}, got {other!r}')
    return _state(simulator, query, body)


def _faults(simulator: Simulator, _query: Mapping[str, str], body: bytes) -> Response:
    faults = parse_faults(_decoded(body))
    simulator.faults.replace(faults)
    return _json({"faults": len(faults)})


def _requests(simulator: Simulator, _query: Mapping[str, str], _body: bytes) -> Response:
    return _json([asdict(served) for served in simulator.log.copy()])


def _truth(simulator: Simulator, query: Mapping[str, str], _body: bytes) -> Response:
    instrument, resolution = query.get("instrument", ""), query.get("resolution", "1")
    _expect_listed(simulator, instrument)
    if resolution not in RESOLUTIONS:
        raise UsageError(f"expected a resolution of {', '.join(RESOLUTIONS)}, got {resolution!r}")
    view = simulator.view()
    start = parse_ms(query.get("start", 0), "start")
    end = parse_ms(query.get("end", view.now_ms), "end")
    text = truth_csv(view.truth(instrument, resolution, start, end))
    return Response(200, text.encode(), "text/csv")


def _truth_rows(simulator: Simulator, query: Mapping[str, str], _body: bytes) -> Response:
    endpoint, instrument = query.get("endpoint", ""), query.get("instrument", "")
    if endpoint not in ENDPOINTS:
        raise UsageError(f"expected an endpoint of {', '.join(ENDPOINTS)}, got {endpoint!r}")
    _expect_listed(simulator, instrument)
    start = _bound(query, "start", 0)
    end = _bound(query, "end", simulator.clock.now_ms() + 1)
    return _json(simulator.history().rows(endpoint, instrument, start, end))


def _bound(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a bound as UTC ms; a short number is ms too, while `parse_ms` takes it for a date."""
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 4 else parse_ms(text or default, name)


def _expect_listed(simulator: Simulator, instrument: str) -> None:
    if instrument not in simulator.market.listings:
        raise UsageError(f"expected a listed instrument, got {instrument!r}; ask get_instruments for names")


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"expected a JSON body, got: {error}") from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, orjson.dumps(value))


_HANDLERS: dict[tuple[str, str], _Handler] = {
    ("GET", "state"): _state,
    ("POST", "clock"): _clock,
    ("POST", "faults"): _faults,
    ("GET", "requests"): _requests,
    ("GET", "truth"): _truth,
    ("GET", "truth_rows"): _truth_rows,
}
