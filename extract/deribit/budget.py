"""The request budget: one token bucket that all threads of a run share."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

MAX_BURST = 100
SLOWEST = 0.5
RECOVERY_PER_REQUEST = 0.02
HALVE_AT_MOST_EVERY_S = 1.0
LONGEST_PAUSE_S = 120.0


class TokenBucket:
    """Admits `rate` requests a second, with a burst of at most `burst`.

    `too_fast` halves the rate, empties the bucket and blocks all requests for the time that the server asked
    for. Every answered request then restores 2 % of the configured rate.

    Args:
        rate: requests a second, more than 0 (Deribit's documented default is 20 a second).
        burst: requests that may be sent at once after a pause; at most 100, Deribit's pool.
        clock: monotonic seconds.
        sleep: waits that many seconds.

    Attributes:
        sent: number of requests admitted.
        refused: number of requests that the server refused for their rate.
    """

    def __init__(
        self,
        rate: float = 20.0,
        burst: int = 20,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if rate <= 0:
            raise ValueError(f"expected a rate above 0 requests a second, got {rate}")
        self.configured = rate
        self.rate = rate
        self.burst = max(1, min(burst, MAX_BURST))
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._tokens = float(self.burst)
        self._refilled_at = clock()
        self._slowed_at = float("-inf")
        self.sent = self.refused = 0

    def take(self) -> None:
        """Wait until one request may be sent, and count it."""
        with self._lock:
            self._refill()
            self._tokens -= 1
            self.sent += 1
            pause = max(0.0, self._refilled_at - self._clock())
            wait = pause + max(0.0, -self._tokens) / self.rate
        if wait > 0:
            self._sleep(wait)

    def too_fast(self, retry_after: float | None = None) -> None:
        """Slow down, because the server refused a request for its rate.

        Args:
            retry_after: seconds that the server asked to wait, if it did; capped at two minutes.
        """
        with self._lock:
            self.refused += 1
            now = self._clock()
            if now - self._slowed_at < HALVE_AT_MOST_EVERY_S:
                return
            self._slowed_at = now
            self.rate = max(min(SLOWEST, self.configured), self.rate / 2)
            self._tokens = min(self._tokens, 0.0)
            self._refilled_at = max(self._refilled_at, now + min(retry_after or 0.0, LONGEST_PAUSE_S))
        log.warning("deribit reports too many requests; slowing down to %.1f requests/s", self.rate)

    def answered(self) -> None:
        """Raise the rate a little, because a request was answered."""
        if self.rate < self.configured:
            with self._lock:
                self.rate = min(self.configured, self.rate + RECOVERY_PER_REQUEST * self.configured)

    def _refill(self) -> None:
        now = self._clock()
        if now > self._refilled_at:
            self._tokens = min(float(self.burst), self._tokens + (now - self._refilled_at) * self.rate)
            self._refilled_at = now
