"""The simulated exchange: turns a request into a response. Has no sockets."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from extract.simulator import faults as f
from extract.simulator import methods
from extract.simulator.candles import RESOLUTIONS
from extract.simulator.clock import Clock
from extract.simulator.credits import INSTRUMENTS_BURST, INSTRUMENTS_PER_SECOND, Credits
from extract.simulator.distort import distort
from extract.simulator.faultbook import Asked, FaultBook
from extract.simulator.history import HISTORY, History
from extract.simulator.listings import dated_future_row, instrument_row
from extract.simulator.market import Source
from extract.simulator.parameters import read_request
from extract.simulator.prepared import PreparedMinutes
from extract.simulator.reply import RequestError, chart, envelope, error_object, invalid, raw
from extract.simulator.view import MAX_ROWS, View
from extract.simulator.wire import Response, answer_instead, damage, retry_after

API_PATH = "/api/v2/public/"
_CURRENCIES = {"any", "BTC", "ETH", "USDC", "USDT", "EURR"}
_KINDS = {"future", "option", "spot", "future_combo", "option_combo"}
_DATED = ("BTC-PERPETUAL", "ETH-PERPETUAL")


@dataclass(frozen=True)
class Served:
    """One answered request: monotonic seconds, its parameters (window in ms), HTTP status, rows sent.

    `fault`: whether a fault on demand was applied. `limited`: whether it was refused for lack of credits.
    """

    at: float
    method: str
    instrument: str | None
    resolution: str | None
    start: int | None
    end: int | None
    status: int
    rows: int
    fault: bool
    limited: bool


@dataclass
class _Exchange:
    """A request that is being answered."""

    request: Asked
    due: list[f.ReplyFault] = field(default_factory=list)
    rows: int = 0
    limited: bool = False


class Simulator:
    """A local Deribit over a market: Deribit's answers, its rate limit, faults on demand and a request log.

    `latency_ms` is added to every API answer; `limit_status` is the HTTP status of a refused request (which
    one Deribit sends is not recorded), `limit_retry_after` adds the header of that name to it. `prepared`
    holds minutes rendered up front by instrument; the answers are the same, only sooner.
    """

    def __init__(
        self,
        market: Source,
        clock: Clock | None = None,
        credits: Credits | None = None,
        faults: FaultBook | None = None,
        latency_ms: float = 0,
        *,
        instrument_credits: Credits | None = None,
        limit_status: int = 429,
        limit_retry_after: bool = False,
        prepared: Mapping[str, PreparedMinutes] | None = None,
    ) -> None:
        self.market = market
        self.clock = clock or Clock()
        self.credits = credits or Credits()
        self.instrument_credits = instrument_credits or Credits(INSTRUMENTS_PER_SECOND, INSTRUMENTS_BURST)
        self.faults = faults or FaultBook()
        self.log: deque[Served] = deque(maxlen=100_000)
        self.counters: Counter[str] = Counter()
        self._latency_s = latency_ms / 1000
        self._limit_status = limit_status
        self._limit_retry_after = limit_retry_after
        self._prepared = prepared or {}
        self._lock = threading.Lock()

    def view(self) -> View:
        """Return the market as it is now."""
        now_ms = self.clock.now_ms()
        return View(self.market, now_ms, self.faults.adjust(now_ms, self.market))

    def history(self) -> History:
        """Return funding and settlements as they are now."""
        return History(self.market, self.faults, self.clock.now_ms())

    def answer(self, method: str, query: Mapping[str, str]) -> Response:
        """Answer a GET of a public method; `query` holds the parameters as typed."""
        started, now_us = time.monotonic(), self.clock.now_ms() * 1000
        exchange = _Exchange(read_request(method, query, now_us // 1000))
        member, value, status = "result", None, 200
        headers: dict[str, str] = {}
        instead: Response | None = None
        try:
            self._charge(exchange, headers)
            exchange.due = self.faults.due(exchange.request)
            instead = answer_instead(exchange.due)
            if instead is None:
                value = self._result(exchange, query)
        except RequestError as error:
            member, value, status = "error", error_object(error), error.status
            headers.update(retry_after(exchange.due))
        if instead is None:
            took_us = int((time.monotonic() - started) * 1e6)
            with self._lock:
                even = self.counters["requests"] % 2 == 0
            body = envelope(member, value, now_us, took_us, even)
            instead = damage(Response(status, body, headers=headers), exchange.due)
        self._record(exchange, instead, started)
        return replace(instead, delay=instead.delay + self._latency_s)

    def _charge(self, exchange: _Exchange, headers: dict[str, str]) -> None:
        instruments = exchange.request.method == "get_instruments"
        credits = self.instrument_credits if instruments else self.credits
        if credits.admits():
            return
        exchange.limited = True
        if self._limit_retry_after:
            headers["Retry-After"] = str(max(1, round(credits.seconds_to_next())))
        raise RequestError(10028, status=self._limit_status)

    def _result(self, exchange: _Exchange, query: Mapping[str, str]) -> Any:
        for fault in exchange.due:
            if isinstance(fault, f.RpcError):
                raise RequestError(fault.code, status=fault.status)
        match exchange.request.method:
            case methods.CHART:
                return self._chart(exchange, query)
            case method if method in HISTORY:
                return self._history(exchange, query)
            case "get_instruments":
                return self._instruments(query)
            case "get_time":
                return self.clock.now_ms()
            case "status":
                return {"locked": "false"}
        raise RequestError(-32601)

    def _chart(self, exchange: _Exchange, query: Mapping[str, str]) -> Any:
        for name in ("instrument_name", "start_timestamp", "end_timestamp", "resolution"):
            if not query.get(name):
                raise invalid(name, "required parameter is missing")
        request = exchange.request
        listing = self.market.listings.get(request.instrument or "")
        if listing is None or listing.created_ms > self.clock.now_ms():
            raise invalid("instrument_name", "instrument not found")
        if request.resolution not in RESOLUTIONS:
            raise invalid("resolution", "unsupported resolution")
        if request.start_ms is None:
            raise invalid("start_timestamp", "value must be an integer")
        if request.end_ms is None:
            raise invalid("end_timestamp", "value must be an integer")
        view = self.view()
        ready = self._ready(exchange, view)
        if ready:
            body, exchange.rows = ready
            return raw(body)
        limit = min([MAX_ROWS, *(fault.rows for fault in exchange.due if isinstance(fault, f.MaxRows))])
        candles = view.reply(listing.name, request.resolution, request.start_ms, request.end_ms, limit)
        result = distort(chart(candles, listing.name), exchange.due)
        exchange.rows = len(result.get("ticks", ()))
        return result

    def _history(self, exchange: _Exchange, query: Mapping[str, str]) -> Any:
        result = self.history().answer(exchange.request, query, exchange.due)
        rows = result.get("settlements") if isinstance(result, dict) else result
        exchange.rows = len(rows) if isinstance(rows, list) else 0
        return result

    def _ready(self, exchange: _Exchange, view: View) -> tuple[bytes, int] | None:
        """Return the result and its rows if they are rendered and no fault touches them."""
        request = exchange.request
        minutes = self._prepared.get(request.instrument or "")
        if minutes is None or request.resolution != "1" or exchange.due or view.adjust is not None:
            return None
        return minutes.result(request.start_ms or 0, request.end_ms or 0, view.now_ms, MAX_ROWS)

    def _instruments(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        currency, kind = query.get("currency"), query.get("kind")
        if not currency:
            raise invalid("currency", "required parameter is missing")
        if currency not in _CURRENCIES:
            raise invalid("currency", "unsupported currency")
        if kind is not None and kind not in _KINDS:
            raise invalid("kind", "unsupported kind")
        if kind not in (None, "future") or query.get("expired") == "true":
            return []
        now_ms = self.clock.now_ms()
        rows = []
        for number, listing in enumerate(self.market.listings.values()):
            listed_ms = self.faults.listed_at(listing.name, listing.created_ms, now_ms)
            if listed_ms is None or listed_ms > now_ms or currency not in ("any", listing.settlement):
                continue
            rows.append(instrument_row(replace(listing, created_ms=listed_ms), number))
            if listing.name in _DATED:
                rows.append(dated_future_row(listing, 1000 + number))
        return rows

    def _record(self, exchange: _Exchange, answer: Response, started: float) -> None:
        request = exchange.request
        status = 0 if answer.reset else answer.status
        served = Served(
            started,
            request.method,
            request.instrument,
            request.resolution,
            request.start_ms,
            request.end_ms,
            status,
            exchange.rows,
            bool(exchange.due),
            exchange.limited,
        )
        with self._lock:
            self.log.append(served)
            self.counters["requests"] += 1
            self.counters[f"method {request.method}"] += 1
            self.counters[f"status {status}"] += 1
            self.counters["rows"] += exchange.rows
            self.counters["limited"] += exchange.limited
            self.counters["faults"] += bool(exchange.due)
