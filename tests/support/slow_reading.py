"""A chart reply read with Python's json and plain loops: what the reading by columns must agree with."""

from __future__ import annotations

import itertools
import json
import struct
from typing import Any

from extract.core.resolution import Resolution
from extract.deribit.candles import VALUES

Read = tuple[list[int], dict[str, list[bytes | None]], int]


def slowly(body: bytes, resolution: Resolution, start_ms: int, end_ms: int) -> Read | None:
    """Return ticks, the bits of every value, and the ticks off the grid; None for what must be refused."""
    result = _result(body)
    if not isinstance(result, dict) or result.get("status") not in ("ok", "no_data"):
        return None
    columns = {name: column for name in ("ticks", *VALUES) if isinstance(column := result.get(name), list)}
    if len(columns) < 1 + len(VALUES):
        return None
    ticks, wanted = columns["ticks"], [columns[name] for name in VALUES]
    if any(type(tick) is not int for tick in ticks) or any(len(values) != len(ticks) for values in wanted):
        return None
    step = resolution.step_ms
    if not all(start_ms - step <= tick <= end_ms + step for tick in ticks):
        return None
    if any(a >= b for a, b in itertools.pairwise(ticks)):
        return None
    values = {name: [bits(number(value)) for value in result[name]] for name in VALUES}
    anchors = {anchor % step for anchor in resolution.anchors_ms}
    return ticks, values, sum(tick % step not in anchors for tick in ticks)


def _result(body: bytes) -> Any:
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(envelope, dict) or isinstance(envelope.get("error"), dict):
        return None
    return envelope.get("result")


def number(value: Any) -> float | None:
    """Return a JSON number as a double, None for anything else."""
    if type(value) not in (int, float):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def bits(value: float | None) -> bytes | None:
    """Return a double's bits, which tell -0.0 from 0.0 and a NaN from itself."""
    return None if value is None else struct.pack("<d", value)
