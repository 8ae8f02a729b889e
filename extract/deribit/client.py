"""The Deribit API over HTTP: one session per thread, one shared budget, retries for what can pass."""

from __future__ import annotations

import email.utils
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity

from extract.deribit.budget import LONGEST_PAUSE_S, TokenBucket
from extract.deribit.candles import Chart, parse_chart
from extract.deribit.decoding import read_json
from extract.deribit.errors import (
    PERMANENT_CODES,
    RATE_CODES,
    TRANSIENT_CODES,
    TRANSIENT_STATUSES,
    BadReplyError,
    PermanentError,
    TransientError,
)
from extract.deribit.instruments import Listed, parse_instruments
from extract.resolution import Resolution

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
READ_AT_ONCE = 1 << 20  # bytes; requests' own 10 kB pieces cost a fifth of the time of a reply
READ_TIMEOUT_S = 30.0
ATTEMPTS = 8
FIRST_CONTACT_ATTEMPTS = 3
LONGEST_WAIT_S = 20.0
REASK_OFF_GRID = 2


@dataclass(frozen=True)
class Reply:
    """A decoded answer.

    Attributes:
        result: the JSON-RPC result.
        server_ms: the server's clock when it answered, UTC ms (from `usOut`), None where it did not say.
        source: `live`, `testnet` or `simulator`: who answered.
    """

    result: Any
    server_ms: int | None
    source: str


class DeribitClient:
    """Reads the public API.

    Args:
        api_url: base address, such as `https://www.deribit.com/api/v2`.
        budget: the token bucket shared by every client of the process.
        attempts: how often a request is sent before a transient failure becomes final.
        sleep: waits seconds between attempts; by default until then or until `stop`.
    """

    def __init__(
        self,
        api_url: str,
        budget: TokenBucket,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.api_url = api_url.rstrip("/")
        self._budget, self._attempts, self._sleep = budget, attempts, sleep
        self._threads = threading.local()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Give up every wait for another try: the run is over."""
        self._stopping.set()

    def server_time(self) -> Reply:
        """Return the server's clock, UTC ms, as the reply's result. Gives up soon: it is the first contact.

        Raises:
            DeribitError: the API cannot be reached.
        """
        attempts = min(self._attempts, FIRST_CONTACT_ATTEMPTS)
        reply = self._retrying(lambda: self._once("get_time", {}), attempts)
        if type(reply.result) is not int:
            raise BadReplyError(f"expected the server's time in ms, got {reply.result!r}")
        return reply

    def instruments(self) -> Listed:
        """Return every listed perpetual, and say which ones cannot be used.

        Raises:
            DeribitError: no usable answer.
        """
        params = {"currency": "any", "kind": "future", "expired": "false"}
        listed: Listed = self._retrying(
            lambda: parse_instruments(self._once("get_instruments", params).result), self._attempts
        )
        for reason in listed.refused:
            log.warning("%s; that perpetual is left out", reason)
        return listed

    def chart(
        self, instrument: str, resolution: Resolution, start_ms: int, end_ms: int
    ) -> tuple[Chart, Reply]:
        """Return the candles whose bucket opens from `start_ms` to `end_ms`, both inclusive, UTC ms.

        The newest 5,001 come when the range holds more. The forming candle is included.

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

        def ask() -> tuple[Chart, Reply]:
            reply = self._once("get_tradingview_chart_data", params)
            return parse_chart(reply.result, resolution, start_ms, end_ms), reply

        chart, reply = self._retrying(ask, self._attempts)
        for _ in range(REASK_OFF_GRID):
            if not chart.off_grid:
                break
            log.warning("%s: %d ticks off the bucket grid, asking again", instrument, chart.off_grid)
            chart, reply = self._retrying(ask, self._attempts)
        return chart, reply

    def _retrying(self, ask: Callable[[], Any], attempts: int) -> Any:
        backoff = tenacity.wait_exponential(0.5, max=LONGEST_WAIT_S) + tenacity.wait_random(0, 0.5)

        def wait(state: tenacity.RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            asked = failure.retry_after if isinstance(failure, TransientError) else None
            return max(backoff(state), min(asked or 0.0, LONGEST_PAUSE_S))

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_after_attempt(attempts) | tenacity.stop_when_event_set(self._stopping),
            wait=wait,
            sleep=self._sleep or self._stopping.wait,
            before_sleep=_log_retry,
            reraise=True,
        )(ask)

    def _once(self, method: str, params: dict[str, Any]) -> Reply:
        self._budget.take()
        try:
            response = self._session().get(
                f"{self.api_url}/public/{method}",
                params=params,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                allow_redirects=False,
                stream=True,
            )
            body = b"".join(response.iter_content(READ_AT_ONCE))
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            kind = type(error).__name__
            raise PermanentError(f"expected an http address in DERIBIT_API_URL, got {kind}") from None
        except requests.RequestException as error:
            self._forget_session()
            raise TransientError(self._unreachable(error)) from None
        try:
            reply = decode(response.status_code, response.headers, body, self._host)
        except TransientError as error:
            if error.too_fast:
                self._budget.too_fast(error.retry_after)
            raise
        self._budget.answered()
        return reply

    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
            # else requests sends what ~/.netrc has for the host; proxies of the environment stay in use
            self._threads.session.auth = lambda request: request
        return self._threads.session

    def _forget_session(self) -> None:
        if hasattr(self._threads, "session"):
            self._threads.session.close()
            del self._threads.session

    @property
    def _host(self) -> str:
        return urlsplit(self.api_url).hostname or ""

    def _unreachable(self, error: Exception) -> str:
        kind = type(error).__name__
        return (
            f"expected the deribit api at {self.api_url}, got {kind}; check the network and DERIBIT_API_URL, "
            "then run the same command again"
        )


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
    envelope = read_json(body)
    if isinstance(envelope, dict) and isinstance(envelope.get("error"), dict):
        raise _api_error(status, envelope["error"], retry_after)
    if status == 200 and isinstance(envelope, dict) and "result" in envelope:
        us_out = envelope.get("usOut")
        server_ms = us_out // 1000 if type(us_out) is int else None
        return Reply(envelope["result"], server_ms, _source(headers, envelope, host))
    what = f"http {status} with " + (
        "a body that is not json" if envelope is None else "json without a result"
    )
    if status in TRANSIENT_STATUSES or status >= 500 or status == 200:
        raise TransientError(
            f"expected a json answer, got {what}", too_fast=status == 429, retry_after=retry_after
        )
    raise PermanentError(f"expected a json answer, got {what}; check DERIBIT_API_URL")


def _api_error(
    status: int, error: dict[str, Any], retry_after: float | None
) -> TransientError | PermanentError:
    code, data = error.get("code"), error.get("data")
    detail = data if isinstance(data, dict) else {}
    reason = detail.get("reason") or error.get("message") or "no reason given"
    about = f" ({detail['param']})" if detail.get("param") else ""
    text = f"deribit answered {code}: {reason}{about}"
    may_pass = status in TRANSIENT_STATUSES or status >= 500
    if code in TRANSIENT_CODES or (may_pass and code not in PERMANENT_CODES):
        return TransientError(text, too_fast=code in RATE_CODES or status == 429, retry_after=retry_after)
    return PermanentError(text)


def _log_retry(state: tenacity.RetryCallState) -> None:
    log.info("asking again: %s", state.outcome and state.outcome.exception())


def _source(headers: Any, envelope: dict[str, Any], host: str) -> str:
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
