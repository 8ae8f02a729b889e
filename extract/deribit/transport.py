"""Requests over HTTP: one session per thread, one shared budget, retries of transient failures."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3

from extract.deribit.body import BodyError, read_body
from extract.deribit.budget import LONGEST_PAUSE_S, TokenBucket
from extract.deribit.errors import PermanentError, TransientError
from extract.deribit.network import open_session, unreachable
from extract.deribit.replies import Reply, decode

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
ATTEMPTS = 8
FIRST_CONTACT_ATTEMPTS = 3
LONGEST_WAIT_S = 20.0


class Transport:
    """Sends requests to the public API.

    Args:
        api_url: base URL, such as `https://www.deribit.com/api/v2`.
        budget: the token bucket, shared by all threads.
        attempts: how often a request is sent before a transient failure is final.
        sleep: waits the given seconds between attempts; the default also ends at `stop`.

    Attributes:
        budget: see above; it counts the requests.
    """

    def __init__(
        self,
        api_url: str,
        budget: TokenBucket,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.api_url = api_url.rstrip("/")
        self.budget, self._attempts, self._sleep = budget, attempts, sleep
        self._threads = threading.local()
        self._stopping = threading.Event()
        self._reached = threading.Event()
        self._ahead_ms: int | None = None

    def now_ms(self) -> int:
        """Return Deribit's clock, UTC ms, by its newest reply; before the first one, this machine's.

        It goes on with the monotonic clock, so that a step of this machine's clock has no effect.
        """
        if self._ahead_ms is None:
            return time.time_ns() // 1_000_000
        return self._ahead_ms + _monotonic_ms()

    def stop(self) -> None:
        """End all waits for a retry, because the run is over."""
        self._stopping.set()

    def resume(self) -> None:
        """Wait for retries again, because another run begins."""
        self._stopping.clear()

    def request(self, method: str, params: dict[str, Any]) -> Reply:
        """Return the reply of a public method without checking its result.

        Raises:
            PermanentError: the API refuses the request.
            TransientError: every attempt failed.
        """
        return self.retrying(lambda: self.once(method, params))

    def retrying(self, send: Callable[[], T]) -> T:
        """Call `send`, again after a TransientError: up to `attempts` times, at most three before any reply.

        Raises:
            DeribitError: the error of the last attempt.
        """

        def enough(state: tenacity.RetryCallState) -> bool:
            patient = self._reached.is_set()
            most = self._attempts if patient else min(self._attempts, FIRST_CONTACT_ATTEMPTS)
            return state.attempt_number >= most or self._stopping.is_set()

        backoff = tenacity.wait_exponential(0.5, max=LONGEST_WAIT_S) + tenacity.wait_random(0, 0.5)

        def wait(state: tenacity.RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome else None
            server_s = failure.retry_after if isinstance(failure, TransientError) else None
            return max(backoff(state), min(server_s or 0.0, LONGEST_PAUSE_S))

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=enough,
            wait=wait,
            sleep=self._sleep or tenacity.sleep_using_event(self._stopping),
            before_sleep=_log_retry,
            reraise=True,
        )(send)

    def once(self, method: str, params: dict[str, Any]) -> Reply:
        """Send one request.

        Raises:
            DeribitError: there is no usable reply.
        """
        self.budget.take()
        began = time.monotonic()
        try:
            response = self._session().get(
                f"{self.api_url}/public/{method}",
                params=params,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                allow_redirects=False,
                stream=True,
            )
            body = self._read(response, began)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise PermanentError(unreachable(self.api_url, error)) from None
        except BodyError as error:
            raise TransientError(f"{error}; check DERIBIT_API_URL") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            self._forget_session()
            raise TransientError(unreachable(self.api_url, error)) from None
        try:
            reply = decode(response.status_code, response.headers, body, self._host)
        except TransientError as error:
            if error.too_fast:
                self.budget.too_fast(error.retry_after)
            raise
        self.budget.answered()
        self._reached.set()
        if reply.server_ms is not None:
            self._ahead_ms = reply.server_ms - _monotonic_ms()
        return reply

    def _read(self, response: requests.Response, began: float) -> bytes:
        try:
            return read_body(response.raw, began)
        except BaseException:
            response.close()  # the rest of the body must not be read as the next reply
            raise

    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            self._threads.session = open_session(self.api_url)
        session: requests.Session = self._threads.session
        return session

    def _forget_session(self) -> None:
        if hasattr(self._threads, "session"):
            self._threads.session.close()
            del self._threads.session

    @property
    def _host(self) -> str:
        return urlsplit(self.api_url).hostname or ""


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _log_retry(state: tenacity.RetryCallState) -> None:
    log.info("retrying: %s", state.outcome and state.outcome.exception())
