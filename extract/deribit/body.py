"""The body of a reply: read in big pieces, within a time and a size."""

from __future__ import annotations

import time
from collections.abc import Callable

import urllib3

PIECE = 1 << 20  # bytes; small pieces cost a fifth of the time of a reply
LONGEST_REPLY_S = 120.0
LARGEST_BODY = 32 << 20  # bytes, decompressed; 5,001 candles take less than 1 MB, all instruments a few


class BodyError(Exception):
    """A body that takes too long or is too large to be an answer."""


def read_body(
    raw: urllib3.BaseHTTPResponse, began: float, clock: Callable[[], float] = time.monotonic
) -> bytes:
    """Return the whole body, decompressed.

    The read time-out bounds a single wait for bytes alone: a server that sends a byte now and then would
    hold a thread for ever, and one that never ends would take all memory.

    Args:
        raw: an answer whose body was not read yet.
        began: when the request was sent, monotonic seconds.
        clock: monotonic seconds.

    Raises:
        BodyError: it took longer than `LONGEST_REPLY_S`, or is larger than `LARGEST_BODY`.
        urllib3.exceptions.HTTPError: the connection failed, or the body is not what its headers say.
    """
    pieces: list[bytes] = []
    size = 0
    packed = "content-encoding" in raw.headers  # unpacking what is not packed would copy it twice
    while piece := raw.read1(PIECE, decode_content=packed):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_BODY:
            raise BodyError(f"expected a reply of at most {LARGEST_BODY:,} bytes, got more")
        if clock() - began > LONGEST_REPLY_S:
            raise BodyError(f"expected a whole reply within {LONGEST_REPLY_S:g} s, got {size:,} bytes so far")
    return b"".join(pieces)
