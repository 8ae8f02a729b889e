"""Checks of the connection to the API: proxy and certificates, reply and latency, clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.network import certificates_variable, open_session, proxy_variable
from extract.deribit.urls import is_loopback
from extract.doctor.lines import LOOK, OK, Line
from extract.settings import DEFAULT_BURST, Settings

APART_S = 5.0
"""Difference between two clocks, in seconds, above which the check warns; NTP keeps them within 0.1 s."""

ATTEMPTS = 2


@dataclass
class Api:
    """The checks, and what later checks need of them.

    Attributes:
        settings: has the URL and the request budget.
        origin: see `Reply`; None before the first reply.
        ahead_s: seconds by which the API's clock is ahead of this machine's.
    """

    settings: Settings
    origin: str | None = None
    ahead_s: float = 0.0

    @property
    def checks(self) -> Mapping[str, Callable[[], Line]]:
        """The checks by subject, in order."""
        return {"proxy, certificate": self.route, "api": self.reply, "clock": self.clock}

    def route(self) -> Line:
        """Report which proxy and certificates the environment names for the API.

        Raises:
            UsageError: one of them cannot be used.
        """
        url = self.settings.api_url
        open_session(url).close()
        proxy, certificates = proxy_variable(url), certificates_variable()
        nearby = is_loopback(urlsplit(url).hostname or "")
        directly = "no proxy, the api is on this machine" if nearby else "no proxy"
        through = f"the proxy in {proxy}" if proxy else directly
        trusted = f"certificates in {certificates}" if certificates else "certificates shipped with requests"
        plain = " not needed for http" if urlsplit(url).scheme == "http" else ""
        return Line(OK, "proxy, certificate", f"{through}, {trusted}{plain}")

    def reply(self) -> Line:
        """Request the time twice: the first request opens the connection, the second measures the latency.

        Raises:
            DeribitError: no usable reply.
        """
        client = make_client(self.settings)
        client.server_time()
        sent, began = time.time(), time.monotonic()
        reply = client.server_time()
        took = time.monotonic() - began
        self.origin, self.ahead_s = reply.origin, reply.result / 1000 - sent - took / 2
        found = f"{self.settings.api_url} answers as {reply.origin} in {took * 1000:.0f} ms"
        if reply.origin == "testnet":
            return Line(LOOK, "api", found, "for candles of the real market, unset DERIBIT_API_URL")
        return Line(OK, "api", found)

    def clock(self) -> Line:
        """Compare this machine's clock with the API's."""
        found = f"{abs(self.ahead_s):,.1f} s {'behind' if self.ahead_s > 0 else 'ahead of'} the api's"
        if abs(self.ahead_s) <= APART_S:
            return Line(OK, "clock", found)
        do = "set this machine's clock with NTP, because loads are ordered by it"
        return Line(LOOK, "clock", found, do)


def make_client(settings: Settings) -> DeribitClient:
    """Return a client with few retries and the same budget as loads."""
    return DeribitClient(settings.api_url, TokenBucket(settings.requests_per_second, DEFAULT_BURST), ATTEMPTS)
