"""The simulator's clock: real time, or a frozen time that moves only on request."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

from extract.errors import UsageError


class Clock:
    """Milliseconds since the epoch (UTC).

    Without `frozen_ms` it runs with the machine's clock; frozen, it stands still until `set` or `advance`.
    """

    def __init__(self, frozen_ms: int | None = None) -> None:
        self._lock = threading.Lock()
        self._frozen_ms = frozen_ms
        self._ahead_ms = 0

    @property
    def frozen(self) -> bool:
        """Whether the clock stands still between moves."""
        return self._frozen_ms is not None

    def now_ms(self) -> int:
        """Return the simulated time."""
        with self._lock:
            return self._now_ms()

    def set(self, now_ms: int) -> None:
        """Freeze the clock at an instant."""
        with self._lock:
            self._frozen_ms = now_ms

    def advance(self, by_ms: int) -> None:
        """Move the clock: a frozen one stays frozen, a running one runs on from the new time."""
        with self._lock:
            if self._frozen_ms is None:
                self._ahead_ms += by_ms
            else:
                self._frozen_ms += by_ms

    def _now_ms(self) -> int:
        if self._frozen_ms is not None:
            return self._frozen_ms
        return time.time_ns() // 1_000_000 + self._ahead_ms


def parse_ms(text: Any, what: str = "time") -> int:
    """Return ms since the epoch for an ISO date or time (UTC where no zone is given) or a number of ms.

    Raises UsageError, naming `what`, for anything else.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if isinstance(text, str) and text.lstrip("-").isdigit() and len(text.lstrip("-")) > 8:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise UsageError(
            f"expected {what} as an ISO time such as 2024-07-01T00:00:00Z or ms, got {text!r}; correct it"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
