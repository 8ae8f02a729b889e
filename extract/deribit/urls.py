"""Which addresses the API may be asked at. What cannot be the API's is refused before anything is sent."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from extract.errors import UsageError

WHERE = "DERIBIT_API_URL or --api-url"

# urlsplit drops line ends and tabs without a word; a backslash is a slash to some and not to others
_PLAIN = re.compile(r"[!-\[\]-~]+")


def check_api_url(url: str, *, allow_http: bool = False) -> None:
    """Refuse an address that the API cannot have, or that anyone on the way could answer for it.

    No message repeats an address that may hold a secret.

    Args:
        url: base address of the API, as typed.
        allow_http: whether http without TLS may leave this machine (`DERIBIT_ALLOW_HTTP=1`).

    Raises:
        UsageError: it is refused.
    """
    if "@" in url:
        raise UsageError(f"expected no user or password in {WHERE}: the api needs none")
    if "?" in url or "#" in url:
        raise UsageError(f"expected a base address without ? and # in {WHERE}, got one with; leave them out")
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"expected an http address in {WHERE}, got {url!r}; it looks like https://www.deribit.com/api/v2"
        )
    if parts.scheme == "http" and not (allow_http or is_loopback(parts.hostname)):
        raise UsageError(
            f"expected https in {WHERE}, got {url!r}, which anyone on the way can answer; "
            "to trust that network, set DERIBIT_ALLOW_HTTP=1"
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split(url: str) -> SplitResult | None:
    """Return the parts of an address, None where it is not one."""
    try:
        parts = urlsplit(url)
        return parts if _PLAIN.fullmatch(url) and parts.port != 0 else None
    except ValueError:  # a port that is no number up to 65535, or half a bracket
        return None
