"""A client knows Deribit's clock between two replies, and counts what it sent."""

from __future__ import annotations

import time

import pytest

from extract.core.resolution import RESOLUTIONS
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.errors import TransientError
from tests.support.exchange import BTC, set_clock, set_faults, simulated

THEN_MS = 1_704_067_200_000


def chart(client: DeribitClient) -> int:
    """Ask for a candle; return how many came."""
    found, _ = client.chart(BTC, RESOLUTIONS["1"], THEN_MS, THEN_MS)
    return found.table.num_rows


def test_the_clock_is_that_of_the_newest_reply_whatever_this_machine_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with simulated(clock="2024-01-01T00:00:00Z") as exchange:
        client = DeribitClient(exchange.base_url, TokenBucket(1000))
        assert abs(client.now_ms() - time.time() * 1000) < 1_000, (
            "before the first reply it is this machine's"
        )
        client.server_time()
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert THEN_MS <= client.now_ms() < THEN_MS + 5_000
        time.sleep(0.05)
        assert client.now_ms() >= THEN_MS + 50, "it goes on without a reply"
        set_clock(exchange, "2024-01-01T01:00:00Z")
        client.server_time()
        assert THEN_MS + 3_600_000 <= client.now_ms() < THEN_MS + 3_605_000


def test_requests_and_refusals_are_counted() -> None:
    with simulated() as exchange:
        client = DeribitClient(exchange.base_url, TokenBucket(1000), sleep=lambda _: None)
        set_faults(exchange, {"kind": "error", "code": 10028, "status": 429, "times": 2})
        chart(client)
        assert (client.budget.sent, client.budget.refused) == (3, 2)


def test_a_client_that_was_stopped_waits_for_retries_again_after_resuming() -> None:
    with simulated() as exchange:
        client = DeribitClient(exchange.base_url, TokenBucket(1000))
        client.server_time()
        client.stop()
        set_faults(exchange, {"kind": "http", "status": 503, "times": 1})
        with pytest.raises(TransientError, match="503"):
            chart(client)
        client.resume()
        set_faults(exchange, {"kind": "http", "status": 503, "times": 1})
        assert chart(client) == 1
