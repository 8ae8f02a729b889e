"""When a run that stays wakes, and what is due then; pure functions. Times and lengths are in ms."""

from __future__ import annotations

import re

from extract.core.resolution import DAY_MS, HOUR_MS
from extract.errors import UsageError

UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": HOUR_MS}
PERIODS = {"hourly": HOUR_MS, "daily": DAY_MS, "never": None}


def parse_length(text: str, flag: str, least_ms: int) -> int:
    """Return a length of time such as 500ms, 60s, 5m or 1h in ms.

    Args:
        text: as typed; a number without a unit is in seconds.
        flag: the flag that it was typed for, for the message.
        least_ms: the shortest length that makes sense.

    Raises:
        UsageError: the text is not a length, or a shorter one.
    """
    found = re.fullmatch(r"\+?(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h)?", text, re.ASCII)
    length_ms = round(float(found[1]) * UNITS[found[2] or "s"]) if found else -1
    if length_ms < least_ms:
        raise UsageError(f"expected at least {least_ms / 1000:g}s in {flag}, such as 60s or 5m, got {text!r}")
    return length_ms


def next_wake(now_ms: int, every_ms: int, delay_ms: int) -> int:
    """Return the first time after now that is `delay_ms` after a multiple of `every_ms` since 1970, UTC.

    Wake times that a long run has missed are skipped: the next one is always in the future.
    """
    return (now_ms - delay_ms) // every_ms * every_ms + every_ms + delay_ms


def is_due(period: str, done_ms: int | None, now_ms: int) -> bool:
    """Return whether a step that runs once in each UTC hour or day is due.

    Args:
        period: hourly, daily or never.
        done_ms: when it was last done, UTC ms; None: never.
        now_ms: the time, UTC ms.
    """
    length = PERIODS[period]
    if length is None:
        return False
    return done_ms is None or now_ms // length != done_ms // length
