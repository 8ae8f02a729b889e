"""The client of the Deribit API: one method per endpoint, which checks the reply."""

from __future__ import annotations

import logging
from typing import Any

from extract.core.resolution import Resolution
from extract.deribit.candles import parse_chart
from extract.deribit.errors import BadReplyError
from extract.deribit.funding import parse_funding, parse_rate
from extract.deribit.instruments import Listed, parse_instruments
from extract.deribit.replies import Reply, check_time
from extract.deribit.rows import Rows, times_ms
from extract.deribit.settlements import Page, parse_page
from extract.deribit.transport import Transport

log = logging.getLogger(__name__)

FETCHES_AGAIN_OFF_GRID = 2
SETTLEMENTS_A_PAGE = 1_000  # the most that Deribit gives (FACTS: documentation)


class DeribitClient(Transport):
    """A client of the public API. See `Transport` for its arguments."""

    def server_time(self) -> Reply:
        """Return Deribit's clock, UTC ms, as the reply's result.

        Raises:
            DeribitError: the API cannot be reached.
        """
        return self.retrying(lambda: check_time(self.once("get_time", {})))

    def instruments(self) -> Listed:
        """Return every listed perpetual, and log those that cannot be used.

        Raises:
            DeribitError: no usable reply.
        """
        params = {"currency": "any", "kind": "future", "expired": "false"}
        listed = self.retrying(lambda: parse_instruments(self.once("get_instruments", params).result))
        for reason in listed.refused.values():
            log.warning("%s; skipping that perpetual", reason)
        return listed

    def chart(
        self, instrument: str, resolution: Resolution, start_ms: int, end_ms: int
    ) -> tuple[Rows, Reply]:
        """Return the candles whose buckets open from `start_ms` to `end_ms`, both inclusive, UTC ms.

        If the range holds more than 5,001, only the newest 5,001. The forming candle is included.

        Raises:
            PermanentError: the API refuses the request.
            TransientError: every attempt failed.
        """
        params = {
            "instrument_name": instrument,
            "start_timestamp": start_ms,
            "end_timestamp": end_ms,
            "resolution": resolution.name,
        }

        def send() -> tuple[Rows, Reply]:
            reply = self.once("get_tradingview_chart_data", params)
            return parse_chart(reply.result, resolution, start_ms, end_ms), reply

        chart, reply = self.retrying(send)
        for _ in range(FETCHES_AGAIN_OFF_GRID):
            if not chart.off_grid:
                break
            log.warning("%s: %d candles off the bucket grid, fetching again", instrument, chart.off_grid)
            chart, reply = self.retrying(send)
        return chart, reply

    def funding(self, instrument: str, start_ms: int, end_ms: int) -> tuple[Rows, Reply]:
        """Return the funding rates whose hours end from `start_ms` to `end_ms`, both inclusive, UTC ms.

        If the range holds more than 744, only the newest 744 (FACTS: seen).

        Raises:
            PermanentError: the API refuses the request.
            TransientError: every attempt failed.
        """
        # Deribit's start is exclusive (FACTS: seen)
        params = {
            "instrument_name": instrument,
            "start_timestamp": start_ms - 1,
            "end_timestamp": end_ms,
        }

        def send() -> tuple[Rows, Reply]:
            reply = self.once("get_funding_rate_history", params)
            return parse_funding(reply.result, start_ms, end_ms), reply

        return self.retrying(send)

    def funding_value(self, instrument: str, start_ms: int, end_ms: int) -> float:
        """Return the rate realised from `start_ms`, exclusive, to `end_ms`, inclusive, UTC ms.

        Raises:
            PermanentError: the API refuses the request.
            TransientError: every attempt failed.
        """
        params = {"instrument_name": instrument, "start_timestamp": start_ms, "end_timestamp": end_ms}
        return self.retrying(lambda: parse_rate(self.once("get_funding_rate_value", params).result))

    def settlements(self, instrument: str, end_ms: int, after: Page | None = None) -> tuple[Page, Reply]:
        """Return a page of daily settlements, the newest up to `end_ms`, inclusive, UTC ms.

        Args:
            instrument: such as BTC-PERPETUAL.
            end_ms: the newest time, UTC ms.
            after: the page before this one; None for the first page.

        Raises:
            PermanentError: the API refuses the request.
            TransientError: every attempt failed; a page that is not older than the one before is a failure.
        """
        params: dict[str, Any] = {
            "instrument_name": instrument,
            "type": "settlement",
            "count": SETTLEMENTS_A_PAGE,
            "search_start_timestamp": end_ms,  # the upper bound (FACTS: documentation)
        }
        if after is not None:
            params["continuation"] = after.token or ""

        def send() -> tuple[Page, Reply]:
            reply = self.once("get_last_settlements_by_instrument", params)
            page = parse_page(reply.result)
            before = None if after is None else after.rows.first_ms
            if before is not None and page.rows.count and times_ms(page.rows.table)[-1] >= before:
                raise BadReplyError("expected older settlements on the next page, got the same ones again")
            return page, reply

        return self.retrying(send)
