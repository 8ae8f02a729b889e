"""The proxy and the certificates for the API, which environment variables name."""

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
"""Variables that name the certificates to trust; the first one that is set counts. requests itself reads only
the first two."""

PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def open_session(url: str) -> requests.Session:
    """Return a session for an API, with the proxy and the certificates that the environment names.

    An API on this machine is reached without a proxy, which would otherwise connect to itself.

    Args:
        url: base URL of the API.

    Raises:
        UsageError: a variable cannot be used; the message names it, without its value.
    """
    _check_proxy(url)
    session = requests.Session()
    session.trust_env = not is_loopback(urlsplit(url).hostname or "")
    session.auth = lambda request: request  # or requests would send the password of ~/.netrc
    if variable := certificates_variable():
        _check_certificates(variable, os.environ[variable])
        session.verify = os.environ[variable]
    return session


def proxy_variable(url: str) -> str | None:
    """Return the variable that names the proxy for a URL, None without a proxy."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname or "") or should_bypass_proxies(url, no_proxy=None):
        return None
    names = (
        name for scheme in (parts.scheme, "all") for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    )
    return next((name for name in names if os.environ.get(name)), None)


def certificates_variable() -> str | None:
    """Return the variable that names the certificates to trust, None for the ones that requests ships."""
    return next((name for name in CERTIFICATES if os.environ.get(name)), None)


def unreachable(url: str, error: Exception) -> str:
    """Return the message for an API that cannot be reached, with the variables that may be the cause."""
    kind, proxy = type(error).__name__, proxy_variable(url)
    through = f" through the proxy in {proxy}" if proxy else ""
    if isinstance(error, requests.exceptions.SSLError):
        held = certificates_variable()
        advice = f"check {held}" if held else "set REQUESTS_CA_BUNDLE to the certificates of your network"
    else:
        advice = f"check {proxy}, or set NO_PROXY" if proxy else "check the network and DERIBIT_API_URL"
    return (
        f"could not reach the deribit api at {url}{through}: {kind}; "
        f"{advice}, then run the same command again"
    )


def _check_proxy(url: str) -> None:
    variable = proxy_variable(url)
    if variable is None:
        return
    proxy = os.environ[variable]
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        usable = parts.scheme in PROXY_SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # the port is not a number up to 65535
        usable = False
    if not usable:
        raise UsageError(
            f"expected a proxy URL in {variable}, such as http://proxy.example:3128; "
            "correct that variable, or unset it"
        )
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socks") is None:
        raise UsageError(
            f"the socks proxy in {variable} needs PySocks; run: pip install PySocks, or use an http proxy"
        )


def _check_certificates(variable: str, named: str) -> None:
    if not Path(named).exists():
        raise UsageError(
            f"no file of certificates at {named}, which {variable} names; correct that variable, or unset it"
        )
    if Path(named).is_file() and b"-----BEGIN " not in Path(named).read_bytes():
        raise UsageError(
            f"no certificates (PEM) in {named}, which {variable} names; correct that variable, or unset it"
        )
