"""What may be wrong with replies of the exchange while a command runs, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

Fault = dict[str, Any]

LYING = frozenset({"empty", "drop_first"})
"""Answers that say with a straight face that there are no rows: only asking once more brings them."""
SPOILING = frozenset({"value", "off_grid", "bad_row"})
"""Answers whose odd rows land, are rejected by the models, and are in the gap list."""

HOURS, DAYS = "get_funding_rate_history", "get_last_settlements_by_instrument"


def reply_fault(rng: Random) -> Fault:
    """Return one fault, as the simulator's JSON has it."""
    kinds: Sequence[Fault] = (
        {"kind": "http", "status": 429, "retry_after": rng.choice((None, 0.2))},
        {"kind": "http", "status": rng.choice((403, 502, 503, 520))},
        {"kind": "http", "status": 200},
        {"kind": "error", "code": 10028, "status": rng.choice((200, 400, 429))},
        {"kind": "error", "code": rng.choice((10041, 11051, 13028)), "status": 400},
        {"kind": "reset"},
        {"kind": "hang", "seconds": 0.3},
        {"kind": "truncated", "keep": round(rng.random(), 2)},
        {"kind": "content_length", "delta": rng.randint(1, 200)},
        {"kind": "unequal", "column": rng.choice(("ticks", "open", "volume"))},
        {"kind": "missing", "column": rng.choice(("ticks", "close", "cost"))},
        {"kind": "duplicate_tick", "row": rng.choice((1, -1))},
        {"kind": "unordered", "row": rng.choice((1, -1))},
        {"kind": "status", "status": "weird"},
        {"kind": "off_grid", "row": rng.choice((0, 7, -1)), "by_ms": rng.choice((1, 1000, 59_999))},
        {
            "kind": "value",
            "row": rng.choice((0, 11, -1)),
            "column": rng.choice(("open", "high", "low", "close", "volume")),
            "value": rng.choice((None, "NaN", "Infinity", "1e400", "none", True)),
        },
        {"kind": "empty"},
        {"kind": "drop_first", "rows": rng.randint(1, 40)},
        {"kind": "max_rows", "rows": rng.choice((200, 333, 1000, 5000))},
    )
    fault = dict(rng.choice(kinds))
    if fault["kind"] == "max_rows":
        return fault
    if fault["kind"] in ("http", "error", "reset"):
        fault["method"] = rng.choice(("get_tradingview_chart_data", "any"))
    fault["probability"] = rng.choice((0.1, 0.5, 1.0))
    # what is refused for all eight tries fails its windows, which are then owed, or ends the plan
    fault["times"] = rng.choice((1, 5, 20, 60, 200))
    return fault


def row_fault(rng: Random) -> Fault:
    """Return one fault of a reply of funding or settlements."""
    kinds: Sequence[Fault] = (
        {"kind": "http", "status": rng.choice((400, 403, 429, 502))},
        {"kind": "error", "code": rng.choice((10028, 10041)), "status": 400},
        {"kind": "reset"},
        {"kind": "truncated", "keep": round(rng.random(), 2)},
        {"kind": "empty"},
        {"kind": "max_rows", "rows": rng.choice((1, 3, 700))},
        {"kind": "repeated_row", "row": rng.choice((0, -1))},
        {"kind": "looping_pages"},
        {
            "kind": "bad_row",
            "row": rng.choice((0, -1)),
            "column": rng.choice(("timestamp", "index_price")),
            "value": rng.choice((None, "NaN", "none", -1)),
        },
    )
    fault = dict(rng.choice(kinds))
    fault["method"] = DAYS if fault["kind"] == "looping_pages" else rng.choice((HOURS, DAYS))
    if fault["kind"] != "max_rows":
        fault |= {"probability": rng.choice((0.1, 0.5, 1.0)), "times": rng.choice((1, 5, 20))}
    return fault
