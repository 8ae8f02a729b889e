"""What goes on the wire, and the faults that damage it there or answer instead."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from extract.simulator import faults as f

_PAGE = (
    b"<html>\r\n<head><title>%d</title></head>\r\n<body><center><h1>%d</h1></center></body>\r\n</html>\r\n"
)


@dataclass(frozen=True)
class Response:
    """One HTTP answer.

    `body` is sent `repeat` times; `promised` is added to content-length, `delay` (s) waited before, `pause`
    (s) after each byte; the connection is reset instead of an answer, or after `reset_after` bytes of it.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    promised: int = 0
    delay: float = 0.0
    reset: bool = False
    repeat: int = 1
    pause: float = 0.0
    reset_after: int | None = None


def retry_after(due: Sequence[f.ReplyFault]) -> dict[str, str]:
    """Return the header that the first fault with one asks for."""
    given = [
        fault.retry_after
        for fault in due
        if isinstance(fault, f.Http | f.RpcError) and fault.retry_after is not None
    ]
    return {"Retry-After": f"{given[0]:g}"} if given else {}


def answer_instead(due: Sequence[f.ReplyFault]) -> Response | None:
    """Return the answer of the first fault that replaces the reply altogether."""
    for fault in due:
        if isinstance(fault, f.Reset):
            return Response(0, b"", reset=True)
        if isinstance(fault, f.Http):
            body = _PAGE % (fault.status, fault.status) if fault.html else b""
            return Response(fault.status, body, "text/html", retry_after([fault]))
    return None


def damage(answer: Response, due: Sequence[f.ReplyFault]) -> Response:
    """Return an answer as the faults of the wire leave it."""
    for fault in due:
        if isinstance(fault, f.Hang):
            answer = replace(answer, delay=answer.delay + fault.seconds)
        elif isinstance(fault, f.Truncated):
            answer = replace(answer, body=answer.body[: int(len(answer.body) * fault.keep)])
        elif isinstance(fault, f.ContentLength):
            answer = replace(answer, promised=fault.delta)
        elif isinstance(fault, f.Wire):
            answer = _rewrite(answer, fault)
    return answer


def _rewrite(answer: Response, fault: f.Wire) -> Response:
    body, headers = answer.body, dict(answer.headers)
    if fault.body is not None:
        body = fault.body.encode()
    if fault.find is not None:
        body = body.replace(fault.find.encode(), fault.put.encode(), 1)
    repeat = fault.repeat
    if fault.coding == "gzip":
        body, repeat = _compressed(body, repeat), 1
        headers["Content-Encoding"] = "gzip"
    elif fault.coding == "not-gzip":
        headers["Content-Encoding"] = "gzip"
    elif fault.coding is not None:
        body = body.decode().encode(fault.coding)
    if fault.location is not None:
        headers["Location"] = fault.location
    return replace(
        answer,
        status=fault.status or answer.status,
        body=body,
        headers=headers,
        repeat=repeat,
        pause=fault.drip,
        reset_after=fault.reset_after,
    )


@lru_cache(maxsize=4)
def _compressed(body: bytes, repeat: int) -> bytes:
    return gzip.compress(body * repeat, 1)
