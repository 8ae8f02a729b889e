"""What lies between this machine and the API, as the environment names it: proxies and certificates."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.utils import should_bypass_proxies

from extract.deribit.urls import is_loopback
from extract.errors import UsageError

CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name the certificates to trust, the first one set counts. requests knows two of them."""

PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def open_session(url: str) -> requests.Session:
    """Return a session for an API, with the proxy and the certificates that the environment names.

    This machine is asked directly: a proxy would ask itself.

    Args:
        url: base address of the API.

    Raises:
        UsageError: one of them cannot be used; it is named, and what it holds is not repeated.
    """
    _check_proxy(url)
    session = requests.Session()
    session.trust_env = not is_loopback(urlsplit(url).hostname or "")
    session.auth = lambda request: request  # else requests sends what ~/.netrc has for the host
    if variable := certificates_variable():
        _check_certificates(variable, os.environ[variable])
        session.verify = os.environ[variable]
    return session


def proxy_variable(url: str) -> str | None:
    """Return the variable whose proxy stands before an address, None where it is asked directly."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname or "") or should_bypass_proxies(url, no_proxy=None):
        return None
    names = (
        name for scheme in (parts.scheme, "all") for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    )
    return next((name for name in names if os.environ.get(name)), None)


def certificates_variable() -> str | None:
    """Return the variable that names the certificates to trust, None for those that requests brings."""
    return next((name for name in CERTIFICATES if os.environ.get(name)), None)


def unreachable(url: str, error: Exception) -> str:
    """Return the line for an API that did not answer, with the variables that stand between."""
    kind, proxy = type(error).__name__, proxy_variable(url)
    through = f" through the proxy in {proxy}" if proxy else ""
    if isinstance(error, requests.exceptions.SSLError):
        held = certificates_variable()
        advice = f"check {held}" if held else "set REQUESTS_CA_BUNDLE to the certificates of your network"
    else:
        advice = f"check {proxy}, or set NO_PROXY" if proxy else "check the network and DERIBIT_API_URL"
    return (
        f"expected the deribit api at {url}{through}, got {kind}; {advice}, then run the same command again"
    )


def _check_proxy(url: str) -> None:
    variable = proxy_variable(url)
    if variable is None:
        return
    proxy = os.environ[variable]
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        usable = parts.scheme in PROXY_SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number up to 65535
        usable = False
    if not usable:
        raise UsageError(
            f"expected the address of a proxy in {variable}, such as http://proxy.example:3128, got none; "
            "mend that variable, or unset it"
        )
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socks") is None:
        raise UsageError(
            f"expected PySocks for the proxy in {variable}, found none; run: pip install PySocks, "
            "or use an http proxy"
        )


def _check_certificates(variable: str, named: str) -> None:
    if not Path(named).exists():
        raise UsageError(
            f"expected a file of certificates in {variable}, found none at {named}; "
            "mend that variable, or unset it"
        )
    if Path(named).is_file() and b"-----BEGIN " not in Path(named).read_bytes():
        raise UsageError(
            f"expected certificates (PEM) in the file of {variable}, found none in {named}; "
            "mend that variable, or unset it"
        )
