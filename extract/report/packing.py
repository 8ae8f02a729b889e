"""Puts values into as few bytes of JSON as possible, for the series that the page embeds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from extract.core.resolution import DAY_MS

EPOCH = date(1970, 1, 1)


def runs(times: Sequence[int], step: int) -> list[list[int]]:
    """Return ascending times as [first, count] of each run of equal steps."""
    found: list[list[int]] = []
    for time in times:
        if found and time == found[-1][0] + found[-1][1] * step:
            found[-1][1] += 1
        else:
            found.append([time, 1])
    return found


def sparse(values: Iterable[int], usual: int) -> dict[str, int]:
    """Return the values that are not the usual one, by their index."""
    return {str(number): value for number, value in enumerate(values) if value != usual}


def number(value: Decimal | float | None, digits: int | None = None) -> int | float | None:
    """Return a value as the shortest JSON number, with at most `digits` digits; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    found = float(value) if digits is None else float(f"{value:.{digits}g}")
    return int(found) if found.is_integer() and abs(found) < 1e15 else found


def compact(value: Any) -> str:
    """Return JSON without spaces that is safe inside a script element, whatever names it contains."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def day_ms(day: date) -> int:
    """Return when a UTC day begins, epoch ms."""
    return (day - EPOCH).days * DAY_MS
