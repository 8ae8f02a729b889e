"""Every class of bad answer: the faults that make it, and what a person sees while it lasts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Fault = Mapping[str, Any]
FAILED, QUARANTINED, HEALED = "failed", "quarantined", "healed"
TIME_US = 1_751_392_830_000_000


@dataclass(frozen=True)
class BadAnswer:
    """One class of bad answer.

    Attributes:
        name: the class, in a few words.
        fault: for the simulator, without instrument and window.
        lasting: what comes of it when every answer of a window is so. failed: exit 1, the window is named and
            nothing of it lands. quarantined: exit 0, and the table has a gap at the bad candle. healed:
            exit 0 and nothing is missing, because asking otherwise brings the rest.
        says: a part of the one line on stderr, for what fails.
        final: not asked again, so that a single such answer fails the window.
        missing: candles that the table lacks while it lasts, for what is quarantined.
    """

    name: str
    fault: Fault
    lasting: str = FAILED
    says: str = ""
    missing: int = 0
    final: bool = False


def http(status: int, **more: Any) -> Fault:
    return {"kind": "http", "status": status, **more}


def error(code: int, status: int, **more: Any) -> Fault:
    return {"kind": "error", "code": code, "status": status, **more}


def value(given: Any, column: str = "close") -> Fault:
    return {"kind": "value", "column": column, "row": 200, "value": given}


def wire(**more: Any) -> Fault:
    return {"kind": "wire", **more}


def reply(result: Any) -> Fault:
    return wire(body=json.dumps({"jsonrpc": "2.0", "result": result, "usOut": TIME_US, "testnet": False}))


def rows(first_ms: int, step_ms: int, count: int = 5) -> dict[str, Any]:
    ticks = [first_ms + n * step_ms for n in range(count)]
    names = ("open", "high", "low", "close", "volume", "cost")
    return {"status": "ok", "ticks": ticks, **{name: [1.5] * count for name in names}}


NOISE = "<script>alert(1)</script>\x1b[2J\x1b]0;owned\x07\r\nerror: all is well\u202e" + "A" * 5000
ANSWERS = (
    BadAnswer("429", http(429), says="http 429"),
    BadAnswer("429 with Retry-After", http(429, retry_after=2), says="http 429"),
    BadAnswer("10028 in HTTP 200", error(10028, 200), says="answered 10028: too_many_requests"),
    BadAnswer("10028 in HTTP 400", error(10028, 400), says="answered 10028: too_many_requests"),
    BadAnswer("10028 in HTTP 429", error(10028, 429, retry_after=1), says="answered 10028"),
    BadAnswer("10041 settlement", error(10041, 400), says="answered 10041: settlement_in_progress"),
    BadAnswer("11051 maintenance", error(11051, 400), says="answered 11051: system_maintenance"),
    BadAnswer("13028 unavailable", error(13028, 400), says="answered 13028: temporarily_unavailable"),
    *(BadAnswer(f"HTML with {n}", http(n), says=f"http {n} with") for n in (200, 403, 502, 503, 520)),
    BadAnswer("an empty body", http(200, html=False), says="a body that is not json"),
    BadAnswer("truncated JSON", {"kind": "truncated"}, says="a body that is not json"),
    BadAnswer("Content-Length too long", {"kind": "content_length", "delta": 64}, says="ProtocolError"),
    BadAnswer("Content-Length too short", {"kind": "content_length", "delta": -64}, says="not json"),
    BadAnswer("a reply that drips", wire(drip=0.01), says="expected a whole reply within"),
    BadAnswer("a reply that hangs", {"kind": "hang", "seconds": 60}, says="ReadTimeout"),
    BadAnswer("a reset before the first byte", {"kind": "reset"}, says="ConnectionError"),
    BadAnswer("a reset in the body", wire(reset_after=900), says="ProtocolError"),
    BadAnswer("a body of 300 MB", wire(body=" " * 1_000_000, repeat=300), says="a reply of at most"),
    BadAnswer("a gzip bomb", wire(body=" " * 1_000_000, repeat=50, coding="gzip"), says="a reply of at most"),
    BadAnswer("gzip that is none", wire(coding="not-gzip"), says="DecodeError"),
    BadAnswer("a redirect", wire(status=302, location="http://u:pw@127.0.0.1:9/x?key=s3cret"),
              says="http 302 to http://127.0.0.1:9/x, which is not followed", final=True),
    BadAnswer("an error of HTML and control characters", wire(
        status=400, body=json.dumps({"error": {"code": 10041, "message": NOISE}})),
              says="answered 10041: <script>"),
    BadAnswer("an instrument that disappears", error(-32602, 400), says="answered -32602", final=True),
    BadAnswer("unequal arrays", {"kind": "unequal"}, says="expected arrays of equal length"),
    BadAnswer("a missing array", {"kind": "missing"}, says="expected an array for close, got none"),
    BadAnswer("unordered ticks", {"kind": "unordered"}, says="got unordered or repeated ones"),
    BadAnswer("duplicate ticks", {"kind": "duplicate_tick"}, says="got unordered or repeated ones"),
    BadAnswer("a tick that is text", value("1704067200000", "ticks"), says="whole milliseconds in ticks"),
    BadAnswer("a tick that is null", value(None, "ticks"), says="whole milliseconds in ticks"),
    BadAnswer("the reply of another range",
              reply(rows(1_600_000_000_000, 60_000)), says="expected ticks from"),
    BadAnswer("a result of {}", reply({}), says="a chart with status ok or no_data, got None"),
    BadAnswer("a result of null", reply(None), says="got 'NoneType'"),
    BadAnswer("a result of [...]", reply([1]), says="got 'list'"),
    BadAnswer("no result", wire(body='{"jsonrpc":"2.0"}'), says="json without a result"),
    BadAnswer("an unknown status", {"kind": "status"}, says="got 'weird'"),
    BadAnswer("a tick off the grid", {"kind": "off_grid", "row": 200}, QUARANTINED, missing=1),
    BadAnswer("null", value(None), QUARANTINED, missing=1),
    BadAnswer("NaN", value("NaN"), QUARANTINED, missing=1),
    BadAnswer("Infinity", value("Infinity", "high"), QUARANTINED, missing=1),
    BadAnswer("1e400", value("1e400", "volume"), QUARANTINED, missing=1),
    BadAnswer("1e15", value(1e15), QUARANTINED, missing=1),
    BadAnswer("text for a number", value("1.5", "open"), QUARANTINED, missing=1),
    BadAnswer("bool", value(True, "low"), QUARANTINED, missing=1),
    BadAnswer("a nested array", value([1.5]), QUARANTINED, missing=1),
    BadAnswer("an empty reply, no_data", {"kind": "empty"}, QUARANTINED, missing=360),
    BadAnswer("a reply cut to its newest rows", {"kind": "max_rows", "rows": 200}, HEALED),
    BadAnswer("the first candle missing", {"kind": "drop_first"}, HEALED),
    BadAnswer("unknown fields at every level", wire(
        find='"result":{', put='"extra":[{"a":[1]}],"result":{"more":{"ticks":[0]},'), HEALED),
    BadAnswer("a gzip body", wire(coding="gzip"), HEALED),
    BadAnswer("a body in UTF-16", wire(coding="utf-16"), HEALED),
    BadAnswer("a byte order mark", wire(coding="utf-8-sig"), HEALED),
    BadAnswer("usOut of the year 580000", wire(find='"usOut":', put='"usOut":1840'), HEALED),
    BadAnswer("usOut below zero", wire(find='"usOut":', put='"usOut":-'), HEALED),
)  # fmt: skip
