"""What a server can do to a client: take for ever, send without end, talk to the terminal, lie about time."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from extract.core.resolution import RESOLUTIONS
from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.errors import BadReplyError, PermanentError, TransientError
from extract.deribit.instruments import parse_instruments
from extract.deribit.replies import check_time, decode
from extract.simulator import RunningSimulator, SimulatorConfig, running
from extract.simulator.faultparsing import parse_faults
from extract.simulator.http import SimulatorServer

ONE = RESOLUTIONS["1"]
START = 1_704_067_200_000
NOW_US = 1_704_067_200_000_000


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningSimulator]:
    with running(SimulatorConfig(clock="2024-01-02", requests_per_second=None)) as simulated:
        yield simulated


@pytest.fixture
def ask(exchange: RunningSimulator):
    def chart(attempts: int = 1, **fault):
        exchange.simulator.faults.replace(parse_faults([{"kind": "wire", **fault}]))
        client = DeribitClient(exchange.base_url, TokenBucket(1000, 100), attempts, lambda _: None)
        return client.chart("BTC-PERPETUAL", ONE, START, START + 3_599_999)[0]

    return chart


def test_a_reply_that_drips_faster_than_the_read_time_out_ends_all_the_same(ask, monkeypatch):
    monkeypatch.setattr("extract.deribit.body.LONGEST_REPLY_S", 0.2)
    with pytest.raises(TransientError, match=r"expected a whole reply within 0\.2 s, got .* bytes so far"):
        ask(drip=0.001)


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_a_body_without_end_is_not_read_to_its_end(coding, ask):
    with pytest.raises(TransientError, match="expected a reply of at most 33,554,432 bytes, got more"):
        ask(body=" " * 1_000_000, repeat=40, coding=coding)


def test_what_is_left_of_a_refused_body_is_not_taken_for_the_next_answer(ask):
    assert ask(attempts=2, body=" " * 1_000_000, repeat=40, times=1).rows == 60


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


@pytest.mark.parametrize("quoted", ["\x1b[2J", "\r\nerror: all is well", "\u202e", "\ud800", "A" * 10_000])
def test_what_a_server_says_is_one_short_line_of_printable_signs(quoted):
    body = json.dumps({"error": {"code": 10041, "message": f"<b>{quoted}"}}).encode()
    with pytest.raises(TransientError, match="deribit answered 10041: <b>") as caught:
        decode(400, {}, body, "h")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 403


@pytest.mark.parametrize("code", [{}, [], [10028], None, "10028", 1e400, True])
def test_an_error_code_that_is_no_number_is_an_error_like_others(code):
    body = json.dumps({"error": {"code": code, "message": "no"}}).encode()
    with pytest.raises(PermanentError, match="deribit answered"):
        decode(400, {}, body, "h")
    with pytest.raises(TransientError, match="deribit answered"):
        decode(503, {}, body, "h")


def test_a_redirect_says_where_it_leads_without_secrets():
    headers = {"Location": "https://user:pw@elsewhere.example/login?token=s3cret#x"}
    with pytest.raises(PermanentError, match=r"http 302 to https://elsewhere\.example/login,") as caught:
        decode(302, headers, b"", "h")
    assert not {"pw", "s3cret"} & set(str(caught.value).replace("@", " ").replace("=", " ").split())


@pytest.mark.parametrize("us_out", [-NOW_US, 0, 1, NOW_US * 1000, 2**63, 2**64 - 1, 1e30, "now", None, True])
def test_an_absurd_time_of_an_answer_is_no_time(us_out):
    assert decode(200, {}, json.dumps({"result": 1, "usOut": us_out}).encode(), "h").server_ms is None


@pytest.mark.parametrize(
    "now", [0, -1, START // 1000, 253_402_300_799_000, 2**70, float(START), str(START), None, True, [START]]
)
def test_an_absurd_clock_decides_nothing(now):
    with pytest.raises(BadReplyError, match="expected the server's time in ms"):
        check_time(decode(200, {}, json.dumps({"result": now, "usOut": NOW_US}).encode(), "h"))


def test_a_clock_that_disagrees_with_its_own_answer_decides_nothing():
    body = json.dumps({"result": START + 3_600_000, "usOut": NOW_US}).encode()
    with pytest.raises(BadReplyError, match="expected one time from the server"):
        check_time(decode(200, {}, body, "h"))


def row(**changed):
    return {
        "instrument_name": "X-PERPETUAL",
        "settlement_period": "perpetual",
        "creation_timestamp": START,
        **changed,
    }


def test_thousands_of_instruments_and_odd_values_are_read():
    odd = [10**400, -1, float("inf"), "1", None, [], True]
    listing = [row(instrument_name=f"X{n}", tick_size=odd[n % 7], is_active=odd[n % 7]) for n in range(5000)]
    found = parse_instruments([*listing, row(kind="option", settlement_period="day")])
    assert (len(found.perpetuals), found.refused) == (5000, {})
