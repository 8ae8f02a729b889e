"""Parsing and formatting of times. Everything is UTC, and a time without a zone is UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TypeAlias

from extract.errors import UsageError

OLDEST_MS, NEWEST_MS = 1_451_606_400_000, 4_102_444_800_000  # 2016, the year of Deribit's start, and 2100

Time: TypeAlias = "str | int | date"
"""A date, an ISO time or UTC ms, as a program gives it; a datetime is a date. Without a zone it is UTC."""


def as_typed(given: Time | None) -> str | None:
    """Return a time as `parse_time` reads it; None stays None."""
    if given is None:
        return None
    return given.isoformat() if isinstance(given, date) else str(given)


def is_plausible(at_ms: object) -> bool:
    """Return whether a value can be a time from Deribit: whole UTC ms from 2016 to 2100."""
    return type(at_ms) is int and OLDEST_MS <= at_ms < NEWEST_MS


def parse_time(text: str, flag: str) -> int:
    """Return a date, an ISO time or Deribit's milliseconds as UTC ms; without an offset it is UTC.

    Args:
        text: such as 2024-01-01, 2024-01-01T08:00, 2024-01-01T08:00:00+08:00 or 1704067200000.
        flag: the flag that it was typed for, for the message.

    Raises:
        UsageError: the text is not a time, or not one from 2016 to 2100.
    """
    # fromisoformat allows any character between date and time, so it reads 1711091200000 as the year 1711
    wanted = text if re.fullmatch(r"\d{4}-?\d\d-?\d\d([T ].+)?", text, re.ASCII) else ""
    try:
        found_ms = int(text) if re.fullmatch(r"\d{13}", text, re.ASCII) else _iso_ms(wanted)
    except (ValueError, OverflowError):
        raise UsageError(
            f"expected a date, an ISO time or milliseconds in {flag}, such as 2024-01-01, 2024-01-01T08:00Z "
            f"or 1704067200000, got {text!r}"
        ) from None
    if not is_plausible(found_ms):
        raise UsageError(f"expected a time from 2016 to 2100 in {flag}, got {text!r}")
    return found_ms


def _iso_ms(text: str) -> int:
    found = datetime.fromisoformat(text)
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def parse_range(
    start: str | None, end: str | None, flags: tuple[str, str] = ("--start", "--end")
) -> tuple[int, int]:
    """Return `--start` (inclusive; default: listing) and `--end` (exclusive; default: now) as UTC ms.

    Args:
        start: as typed, see `parse_time`; None: the default.
        end: in the same way.
        flags: the flags that they were typed for, for messages.

    Raises:
        UsageError: a text is not a time, or the end is not after the start.
    """
    start_ms = parse_time(start, flags[0]) if start is not None else 0
    end_ms = parse_time(end, flags[1]) if end is not None else 2**53
    if end_ms <= start_ms:
        raise UsageError(f"expected {flags[1]} after {flags[0]}, got {flags[0]} {start} {flags[1]} {end}")
    return start_ms, end_ms


def format_time(ms: int) -> str:
    """Return UTC ms as `2024-01-01 08:00:00Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
