"""What a server can do to a client: take for ever, send without end, talk to the terminal, lie about time."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from extract.core.resolution import RESOLUTIONS
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.errors import BadReplyError, PermanentError, TransientError
from extract.deribit.replies import check_time, decode
from extract.simulator import RunningSimulator
from extract.simulator.faultparsing import parse_faults
from extract.simulator.http import SimulatorServer
from tests.support.exchange import simulated

ONE = RESOLUTIONS["1"]
START = 1_704_067_200_000
NOW_US = 1_704_067_200_000_000


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with simulated(clock="2024-01-02") as running:
        yield running


@pytest.fixture
def ask(exchange: RunningSimulator):
    def chart(attempts: int = 1, **fault):
        exchange.simulator.faults.replace(parse_faults([{"kind": "wire", **fault}]))
        client = DeribitClient(exchange.base_url, TokenBucket(1000, 100), attempts, lambda _: None)
        return client.chart("BTC-PERPETUAL", ONE, START, START + 3_599_999)[0]

    return chart


def test_what_is_left_of_a_refused_body_is_not_taken_for_the_next_answer(ask, exchange):
    assert ask(attempts=2, body=" " * 1_000_000, repeat=40, times=1).count == 60
    assert [served.fault for served in list(exchange.simulator.log)[-2:]] == [True, False]


def test_a_connection_serves_many_replies(exchange, monkeypatch):
    accepted, accept = [], SimulatorServer.process_request
    monkeypatch.setattr(
        SimulatorServer,
        "process_request",
        lambda server, request, address: (accepted.append(address), accept(server, request, address)),
    )
    exchange.simulator.faults.replace(())
    client = DeribitClient(exchange.base_url, TokenBucket(1000, 100))
    for _ in range(5):
        client.chart("BTC-PERPETUAL", ONE, START, START + 3_599_999)
    assert len(accepted) == 1


@pytest.mark.parametrize("code", [{}, [], [10028], None, "10028", 1e400, True])
def test_an_error_code_that_is_no_number_is_an_error_like_others(code):
    body = json.dumps({"error": {"code": code, "message": "no"}}).encode()
    with pytest.raises(PermanentError, match="deribit answered"):
        decode(400, {}, body, "h")
    with pytest.raises(TransientError, match="deribit answered"):
        decode(503, {}, body, "h")


@pytest.mark.parametrize("us_out", [-NOW_US, 0, 1, NOW_US * 1000, 2**63, 2**64 - 1, 1e30, "now", None, True])
def test_an_absurd_time_of_an_answer_is_no_time(us_out):
    assert decode(200, {}, json.dumps({"result": 1, "usOut": us_out}).encode(), "h").server_ms is None


@pytest.mark.parametrize(
    "now", [0, -1, START // 1000, 253_402_300_799_000, 2**70, float(START), str(START), None, True, [START]]
)
def test_an_absurd_clock_decides_nothing(now):
    with pytest.raises(BadReplyError, match="expected deribit's time in ms"):
        check_time(decode(200, {}, json.dumps({"result": now, "usOut": NOW_US}).encode(), "h"))


def test_a_clock_that_disagrees_with_its_own_answer_decides_nothing():
    body = json.dumps({"result": START + 3_600_000, "usOut": NOW_US}).encode()
    with pytest.raises(BadReplyError, match="deribit gives two times"):
        check_time(decode(200, {}, body, "h"))
