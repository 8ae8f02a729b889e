"""Checks of the way to the API: proxy and certificates, its answer and latency, its clock."""

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
"""Seconds between two clocks that are worth a look: NTP keeps them within a tenth."""

ATTEMPTS = 2


@dataclass
class Api:
    """The checks, and what they learn.

    Attributes:
        settings: names the address and the budget.
        origin: who answers, see `Reply`; None as long as nobody has.
        ahead_s: by how many seconds the API's clock is ahead of this machine's.
    """

    settings: Settings
    origin: str | None = None
    ahead_s: float = 0.0

    @property
    def checks(self) -> Mapping[str, Callable[[], Line]]:
        """The checks by subject, in their order."""
        return {"proxy, certificate": self.way, "api": self.answer, "clock": self.clock}

    def way(self) -> Line:
        """Say which variables decide how the API is reached.

        Raises:
            UsageError: one of them cannot be used.
        """
        url = self.settings.api_url
        open_session(url).close()
        proxy, certificates = proxy_variable(url), certificates_variable()
        nearby = is_loopback(urlsplit(url).hostname or "")
        directly = "no proxy: it is this machine" if nearby else "no proxy"
        through = f"the proxy in {proxy}" if proxy else directly
        trusted = f"certificates in {certificates}" if certificates else "certificates that requests brings"
        plain = " not needed for http" if urlsplit(url).scheme == "http" else ""
        return Line(OK, "proxy, certificate", f"{through}, {trusted}{plain}")

    def answer(self) -> Line:
        """Ask for the time twice: the first answer takes a connection, the second one the latency.

        Raises:
            DeribitError: no usable answer.
        """
        client = asking(self.settings)
        client.server_time()
        asked, began = time.time(), time.monotonic()
        reply = client.server_time()
        took = time.monotonic() - began
        self.origin, self.ahead_s = reply.origin, reply.result / 1000 - asked - took / 2
        found = f"{self.settings.api_url} answers as {reply.origin} in {took * 1000:.0f} ms"
        if reply.origin == "testnet":
            return Line(LOOK, "api", found, "its candles are not the market's: unset DERIBIT_API_URL")
        return Line(OK, "api", found)

    def clock(self) -> Line:
        """Hold this machine's clock against the API's."""
        found = f"{abs(self.ahead_s):,.1f} s {'behind' if self.ahead_s > 0 else 'ahead of'} the api's"
        if abs(self.ahead_s) <= APART_S:
            return Line(OK, "clock", found)
        do = "have NTP set this machine's clock: loads are ordered by it (which candles are closed is not)"
        return Line(LOOK, "clock", found, do)


def asking(settings: Settings) -> DeribitClient:
    """Return a client that soon gives up, with the budget that loads have."""
    return DeribitClient(settings.api_url, TokenBucket(settings.requests_per_second, DEFAULT_BURST), ATTEMPTS)
