"""Compares the facts about Deribit that the code depends on with what Deribit does now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from extract.core.messages import one_line
from extract.core.resolution import HOUR_MS
from extract.deribit.client import DeribitClient
from extract.deribit.errors import PermanentError, TransientError
from extract.deribit.network import unreachable
from extract.deribit.replies import Reply
from extract.doctor.lines import OK, SilentError, within
from extract.errors import PerpsError

log = logging.getLogger(__name__)

DIFFERS, UNKNOWN = "DIFFERS", "UNKNOWN"
LIMIT_S, ALL_S = 12.0, 60.0
"""Seconds for one fact, and for all; a responsive API needs a few seconds in all."""

INSTRUMENT = "BTC-PERPETUAL"
CHART = "get_tradingview_chart_data"
NO_METHOD = "deribit answered -32601"
YESTERDAY_MS = 24 * HOUR_MS


class UnseenError(Exception):
    """A fact cannot be observed now; the message is the reason."""


@dataclass(frozen=True)
class Exchange:
    """The exchange that the facts are checked against.

    Attributes:
        client: a client with the same budget as loads.
        first: the first reply, of `get_time`.
    """

    client: DeribitClient
    first: Reply

    @property
    def hour_ms(self) -> int:
        """Start of a whole hour that ended at least a day ago, UTC ms."""
        return int(self.first.result - YESTERDAY_MS) // HOUR_MS * HOUR_MS

    def chart(
        self, start_ms: int, end_ms: int, resolution: str = "1", instrument: str = INSTRUMENT
    ) -> dict[str, Any]:
        """Return the `result` of a chart request; both bounds are sent unchanged.

        Raises:
            DeribitError: no usable reply.
        """
        params = {
            "instrument_name": instrument,
            "start_timestamp": start_ms,
            "end_timestamp": end_ms,
            "resolution": resolution,
        }
        result: dict[str, Any] = self.client.request(CHART, params).result
        return result

    def instruments(self, *, expired: bool) -> list[dict[str, Any]]:
        """Return the listed perpetuals, or those that are no longer listed.

        Raises:
            DeribitError: no usable reply.
        """
        params = {"currency": "any", "kind": "future", "expired": "true" if expired else "false"}
        rows = self.client.request("get_instruments", params).result
        return [row for row in rows if row.get("settlement_period") == "perpetual"]

    def now_ms(self) -> int:
        """Return Deribit's clock, UTC ms, once it is at least 2 s away from a new minute; waits up to 5 s."""
        now_ms = int(self.client.server_time().result)
        since_s = (now_ms / 1000 + 3) % 60  # counted from 3 s before a minute
        if since_s >= 5:
            return now_ms
        time.sleep(5 - since_s)
        return int(self.client.server_time().result)


@dataclass(frozen=True)
class Fact:
    """A fact about Deribit that the code depends on.

    Attributes:
        name: one or two words.
        documented: the results of `look` with which the code works.
        needed_by: the code that depends on the fact.
        look: returns what the exchange does now; raises UnseenError if that cannot be observed.
    """

    name: str
    documented: tuple[str, ...]
    needed_by: str
    look: Callable[[Exchange], str]


@dataclass(frozen=True)
class Finding:
    """What was found about a fact, or why it could not be observed."""

    fact: Fact
    status: str
    found: str

    def __str__(self) -> str:
        """Return the line to print."""
        start = f"{self.status:<7} {self.fact.name:<18}"
        if self.status == OK:
            return f"{start} {self.found}"
        documented = " or ".join(self.fact.documented)
        if self.status == UNKNOWN:
            return f"{start} documented: {documented}; not seen: {one_line(self.found)}"
        return f"{start} documented: {documented}; found: {one_line(self.found)}; see {self.fact.needed_by}"


def examine(client: DeribitClient, facts: Sequence[Fact]) -> Iterator[Finding]:
    """Yield a finding for each fact, in order.

    Raises:
        PerpsError: the API cannot be reached; no finding was yielded.
    """
    try:
        exchange = Exchange(client, within(LIMIT_S, client.server_time))
    except SilentError as error:
        raise PerpsError(unreachable(client.api_url, TimeoutError())) from error
    began, waits = time.monotonic(), True
    for fact in facts:
        if waits and time.monotonic() - began < ALL_S:
            try:
                yield Finding(fact, *_look(fact, exchange))
            except SilentError as error:
                waits = False
                yield Finding(fact, UNKNOWN, str(error))
        else:
            yield Finding(fact, UNKNOWN, "skipped, because the api has become too slow")


def _look(fact: Fact, exchange: Exchange) -> tuple[str, str]:
    """Return the status and what was found.

    Raises:
        SilentError: no reply in time.
    """
    try:
        found = within(LIMIT_S, lambda: fact.look(exchange))
    except SilentError:
        raise
    except (UnseenError, TransientError) as error:
        return UNKNOWN, str(error)
    except PermanentError as error:
        found = str(error)
        if found.startswith(NO_METHOD) and exchange.first.origin == "simulator":
            return UNKNOWN, "the simulator does not have this method"
    except Exception as error:  # the reply lacks something that `look` reads
        log.exception("the reply about %s has another form", fact.name, extra={"shown": True})
        found = f"a reply of another form ({type(error).__name__}: {error})"[:300]
    return OK if found in fact.documented else DIFFERS, found
