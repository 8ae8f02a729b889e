"""Times as people type and read them. Everything is UTC; what names no zone is UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from extract.errors import UsageError


def parse_time(text: str, flag: str) -> int:
    """Return a date or an ISO time as UTC ms; without an offset it is UTC.

    Args:
        text: such as 2024-01-01, 2024-01-01T08:00 or 2024-01-01T08:00:00+08:00.
        flag: where it was typed, for the message.

    Raises:
        UsageError: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"expected a date or an ISO time in {flag}, such as 2024-01-01 or 2024-01-01T08:00Z, got {text!r}"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return round(found.timestamp() * 1000)


def parse_range(start: str | None, end: str | None) -> tuple[int, int]:
    """Return `--start` (inclusive; default: listing) and `--end` (exclusive; default: now) as UTC ms.

    Raises:
        UsageError: not times, or the end is not after the start.
    """
    start_ms = parse_time(start, "--start") if start else 0
    end_ms = parse_time(end, "--end") if end else 2**53
    if end_ms <= start_ms:
        raise UsageError(f"expected --end after --start, got --start {start} --end {end}")
    return start_ms, end_ms


def format_time(ms: int) -> str:
    """Return UTC ms as `2024-01-01 08:00:00Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
