"""What can go wrong with a request, and whether asking again can help."""

from __future__ import annotations

from extract.errors import PerpsError

# Codes worth another try and codes that stay as they are (FACTS: documentation of the JSON-RPC errors).
TRANSIENT_CODES = frozenset({10028, 10040, 10041, 10047, 10066, 11051, 11094, 13028, 13888})
PERMANENT_CODES = frozenset({-32602, -32601, 13020, 13021, 13009, 10020})
RATE_CODES = frozenset({10028, 10047, 10066})
TRANSIENT_STATUSES = frozenset({403, 408, 425, 429})


LONGEST_MESSAGE = 400  # characters: what a server says may be megabytes


class DeribitError(PerpsError):
    """A request that has no usable answer.

    The message may quote the server: line breaks and control characters, which could rewrite a terminal or
    fake a line of the log, become spaces, and what is too long is cut.
    """

    def __init__(self, message: str) -> None:
        start = message[: 2 * LONGEST_MESSAGE]
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in start).split())
        cut = len(line) > LONGEST_MESSAGE or len(start) < len(message)
        super().__init__(line[:LONGEST_MESSAGE] + "..." if cut else line)


class TransientError(DeribitError):
    """An answer worth another try.

    Attributes:
        too_fast: the server said that requests come too fast.
        retry_after: seconds the server asked to wait, or None.
    """

    def __init__(self, message: str, *, too_fast: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.too_fast = too_fast
        self.retry_after = retry_after


class PermanentError(DeribitError):
    """An answer that will not change: wrong parameters, an unknown instrument, a wrong address."""


class BadReplyError(TransientError):
    """JSON arrived, but not a chart: arrays of unequal length, ticks out of order, an unknown status."""
