"""Checks the API's base URL before any request is sent."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from extract.errors import UsageError

WHERE = "DERIBIT_API_URL or --api-url"

# urlsplit silently drops line ends and tabs; some programs read a backslash as a slash
_PLAIN = re.compile(r"[!-\[\]-~]+")


def check_api_url(url: str, *, allow_http: bool = False) -> None:
    """Refuse a URL that cannot be the API's, or whose replies others on the network could forge.

    No message repeats a URL that may hold a secret.

    Args:
        url: base URL of the API, as typed.
        allow_http: whether http without TLS may leave this machine (`DERIBIT_ALLOW_HTTP=1`).

    Raises:
        UsageError: the URL is refused.
    """
    if "@" in url:
        raise UsageError(f"expected no user or password in {WHERE}; remove them, the api needs none")
    if "?" in url or "#" in url:
        raise UsageError(f"expected a base URL without ? and # in {WHERE}; remove them")
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"expected an http URL in {WHERE}, such as https://www.deribit.com/api/v2, got {url!r}"
        )
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname)):
        raise UsageError(
            f"expected https in {WHERE}, got {url!r}, whose replies others on the network can forge; "
            "if you trust that network, set DERIBIT_ALLOW_HTTP=1"
        )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL, None if it is not one."""
    try:
        parts = urlsplit(url)
        return parts if _PLAIN.fullmatch(url) and parts.port != 0 else None
    except ValueError:  # the port is not a number up to 65535, or a bracket is missing
        return None
