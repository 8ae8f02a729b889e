"""From an HTTP answer to a decoded reply, or to what went wrong: `decode`, pure."""

from __future__ import annotations

import email.utils
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from extract.core.times import is_plausible
from extract.deribit.errors import (
    PERMANENT_CODES,
    RATE_CODES,
    TRANSIENT_CODES,
    TRANSIENT_STATUSES,
    BadReplyError,
    PermanentError,
    TransientError,
)

REDIRECTS = frozenset({301, 302, 303, 307, 308})
CLOCKS_APART_MS = 60_000


@dataclass(frozen=True)
class Reply:
    """A decoded answer.

    Attributes:
        result: the JSON-RPC result.
        server_ms: the server's clock when it answered, UTC ms (from `usOut`), None where it did not say.
        origin: `live`, `testnet` or `simulator`: who answered.
    """

    result: Any
    server_ms: int | None
    origin: str


def decode(status: int, headers: Any, body: bytes, host: str) -> Reply:
    """Read an answer: JSON first, whatever the HTTP status, because errors arrive with several.

    Args:
        status: HTTP status.
        headers: response headers.
        body: response body.
        host: the host that was asked, which tells live from testnet.

    Raises:
        TransientError: worth another try.
        PermanentError: it is not.
    """
    retry_after = _retry_after(headers.get("Retry-After"))
    envelope = _read_json(body)
    if isinstance(envelope, dict) and isinstance(envelope.get("error"), dict):
        raise _api_error(status, envelope["error"], retry_after)
    if status == 200 and isinstance(envelope, dict) and "result" in envelope:
        us_out = envelope.get("usOut")
        server_ms = us_out // 1000 if type(us_out) is int and is_plausible(us_out // 1000) else None
        return Reply(envelope["result"], server_ms, _origin(headers, envelope, host))
    if status in REDIRECTS:
        raise PermanentError(
            f"expected an answer, got http {status} to {_target(headers)}, which is not followed; "
            "check DERIBIT_API_URL and the proxy"
        )
    what = f"http {status} with " + (
        "a body that is not json" if envelope is None else "json without a result"
    )
    if status in TRANSIENT_STATUSES or status >= 500 or status == 200:
        raise TransientError(
            f"expected a json answer, got {what}", too_fast=status == 429, retry_after=retry_after
        )
    raise PermanentError(f"expected a json answer, got {what}; check DERIBIT_API_URL")


def check_time(reply: Reply) -> Reply:
    """Return an answer of `get_time` that holds a time in UTC ms which can be true.

    It decides which candles are closed, so it must agree with the time of the answer that brought it.

    Raises:
        BadReplyError: it does not.
    """
    now_ms = reply.result
    if not is_plausible(now_ms):
        raise BadReplyError(f"expected the server's time in ms, got {str(now_ms)[:40]!r}; ask again later")
    if reply.server_ms is not None and abs(reply.server_ms - now_ms) > CLOCKS_APART_MS:
        raise BadReplyError(
            f"expected one time from the server, got {now_ms} in an answer of {reply.server_ms} (ms); "
            "ask again later"
        )
    return reply


def _read_json(body: bytes) -> Any:
    """Return the decoded body, None when it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _target(headers: Any) -> str:
    """Return where a redirect leads, without user, password and query, which may be secret."""
    try:
        to = urlsplit(headers.get("Location") or "nowhere")
        return to._replace(netloc=to.netloc.rpartition("@")[2], query="", fragment="").geturl()
    except ValueError:
        return "an address that cannot be read"


def _api_error(
    status: int, error: dict[str, Any], retry_after: float | None
) -> TransientError | PermanentError:
    code, data = error.get("code"), error.get("data")
    known = code if type(code) is int else None  # anything else cannot be looked up
    detail = data if isinstance(data, dict) else {}
    reason = detail.get("reason") or error.get("message") or "no reason given"
    about = f" ({detail['param']})" if detail.get("param") else ""
    text = f"deribit answered {code}: {reason}{about}"
    may_pass = status in TRANSIENT_STATUSES or status >= 500
    if known in TRANSIENT_CODES or (may_pass and known not in PERMANENT_CODES):
        return TransientError(text, too_fast=known in RATE_CODES or status == 429, retry_after=retry_after)
    return PermanentError(text)


def _origin(headers: Any, envelope: dict[str, Any], host: str) -> str:
    if headers.get("X-Perps-Simulator"):
        return "simulator"
    if envelope.get("testnet") is True or host.startswith("test."):
        return "testnet"
    return "live"


def _retry_after(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds seconds or an HTTP date."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
