"""Deribit's rate limit: each request takes credits from a pool, which refills with time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

REQUEST_CREDITS = 500
REQUESTS_PER_SECOND = 20.0
BURST = 100
INSTRUMENTS_PER_SECOND = 1.0
INSTRUMENTS_BURST = 50


class Credits:
    """A token bucket: `burst` requests at once, `requests_per_second` sustained; None means unlimited.

    The defaults are the documented pool of 50,000 credits, 500 a request and a refill of 10,000 a second
    (FACTS: doc). A refused request costs nothing. `now` is a monotonic clock in seconds.
    """

    def __init__(
        self,
        requests_per_second: float | None = REQUESTS_PER_SECOND,
        burst: int = BURST,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refill = None if requests_per_second is None else requests_per_second * REQUEST_CREDITS
        self._pool = float(burst * REQUEST_CREDITS)
        self._left = self._pool
        self._now = now
        self._at = now()
        self._lock = threading.Lock()

    def admits(self) -> bool:
        """Take the credits of one request; False when the pool does not hold them."""
        if self._refill is None:
            return True
        with self._lock:
            moment = self._now()
            self._left = min(self._pool, self._left + (moment - self._at) * self._refill)
            self._at = moment
            if self._left < REQUEST_CREDITS:
                return False
            self._left -= REQUEST_CREDITS
            return True

    def seconds_to_next(self) -> float:
        """Return the seconds until a request is admitted again, if no other request comes first."""
        if self._refill is None:
            return 0.0
        with self._lock:
            return max(0.0, (REQUEST_CREDITS - self._left) / self._refill)
