"""Errors of a request, and whether a retry can help."""

from __future__ import annotations

from extract.errors import PerpsError

# Codes worth a retry, and codes that will not change (FACTS: documentation of the JSON-RPC errors).
TRANSIENT_CODES = frozenset({10028, 10040, 10041, 10047, 10066, 11051, 11094, 13028, 13888})
PERMANENT_CODES = frozenset({-32602, -32601, 13020, 13021, 13009, 10020})
RATE_CODES = frozenset({10028, 10047, 10066})
TRANSIENT_STATUSES = frozenset({403, 408, 425, 429})


LONGEST_MESSAGE = 400  # characters: a server's message may be megabytes long


class DeribitError(PerpsError):
    """A request without a usable reply.

    The message may quote the server. Line breaks and control characters, which could rewrite a terminal or
    fake a log line, become spaces, and a long message is cut.
    """

    def __init__(self, message: str) -> None:
        start = message[: 2 * LONGEST_MESSAGE]
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in start).split())
        cut = len(line) > LONGEST_MESSAGE or len(start) < len(message)
        super().__init__(line[:LONGEST_MESSAGE] + "..." if cut else line)


class TransientError(DeribitError):
    """A failure that is worth a retry.

    Attributes:
        too_fast: whether the server refused the request for its rate.
        retry_after: seconds that the server asked to wait, or None.
    """

    def __init__(self, message: str, *, too_fast: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.too_fast = too_fast
        self.retry_after = retry_after


class PermanentError(DeribitError):
    """A failure that a retry cannot change: wrong parameters, an unknown instrument, a wrong URL."""


class BadReplyError(TransientError):
    """A JSON reply with unusable content, such as arrays of unequal length or ticks out of order."""
