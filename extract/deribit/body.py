"""Reads the body of a reply in large pieces, within a time and a size limit."""

from __future__ import annotations

import time
from collections.abc import Callable

import urllib3

PIECE = 1 << 20  # bytes; small pieces cost a fifth of the time of a reply
LONGEST_REPLY_S = 120.0
LARGEST_BODY = 32 << 20  # bytes, decompressed; 5,001 candles take less than 1 MB, all instruments a few


class BodyError(Exception):
    """The body of a reply takes too long or is too large."""


def read_body(
    raw: urllib3.BaseHTTPResponse, began: float, clock: Callable[[], float] = time.monotonic
) -> bytes:
    """Return the whole body, decompressed.

    The read time-out limits only each wait for bytes: without these limits, a server that sends a byte now
    and then would block a thread for ever, and a body without end would fill the memory.

    Args:
        raw: a response whose body was not read yet.
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
