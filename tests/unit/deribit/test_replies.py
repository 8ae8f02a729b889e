"""Answers as they arrive: JSON first whatever the status, then what can pass and what cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extract.core.resolution import RESOLUTIONS
from extract.deribit.candles import parse_chart
from extract.deribit.errors import (
    PERMANENT_CODES,
    TRANSIENT_CODES,
    BadReplyError,
    PermanentError,
    TransientError,
)
from extract.deribit.instruments import parse_instruments
from extract.deribit.replies import decode
from tests.fuzz.replies import Seed, check

HTML = b"<html><body>502 Bad Gateway</body></html>"


def error_body(code: int, **data: str) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "error": {"code": code, "message": "m", "data": data or None}}
    ).encode()


@pytest.mark.parametrize("status", [200, 400, 429])
@pytest.mark.parametrize("code", sorted(TRANSIENT_CODES))
def test_transient_codes_are_transient_under_any_status(status, code):
    with pytest.raises(TransientError, match=str(code)):
        decode(status, {}, error_body(code), "h")


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("code", sorted(PERMANENT_CODES))
def test_permanent_codes_come_back_at_once_with_the_apis_reason(status, code):
    with pytest.raises(PermanentError, match=f"{code}: instrument not found .instrument_name"):
        decode(status, {}, error_body(code, reason="instrument not found", param="instrument_name"), "h")


@pytest.mark.parametrize("status", [200, 403, 408, 429, 500, 502, 503, 520, 525])
def test_a_page_instead_of_json_is_worth_another_try(status):
    with pytest.raises(TransientError, match=f"http {status}"):
        decode(status, {}, HTML, "h")


@pytest.mark.parametrize("status", [301, 302, 404])
def test_a_wrong_address_is_not(status):
    with pytest.raises(PermanentError, match="DERIBIT_API_URL"):
        decode(status, {}, HTML, "h")


@pytest.mark.parametrize("code", [10028, 10047, 10066])
def test_refusals_for_rate_say_so(code):
    with pytest.raises(TransientError) as caught:
        decode(400, {"Retry-After": "3"}, error_body(code), "h")
    assert (caught.value.too_fast, caught.value.retry_after) == (True, 3.0)


@pytest.mark.parametrize(
    ("headers", "envelope", "host", "origin"),
    [
        ({}, {"testnet": False}, "www.deribit.com", "live"),
        ({}, {"testnet": True}, "www.deribit.com", "testnet"),
        ({}, {}, "test.deribit.com", "testnet"),
        ({"X-Perps-Simulator": "seed=7"}, {"testnet": False}, "127.0.0.1", "simulator"),
    ],
)
def test_who_answers_is_known(headers, envelope, host, origin):
    body = json.dumps({"result": 1, "usOut": 1_700_000_000_123_456} | envelope).encode()
    reply = decode(200, headers, body, host)
    assert (reply.origin, reply.server_ms) == (origin, 1_700_000_000_123)


@pytest.mark.parametrize("result", [[], [{"settlement_period": "week"}], None, {}])
def test_a_listing_without_perpetuals_is_no_answer(result):
    with pytest.raises(BadReplyError):
        parse_instruments(result)


def perpetual(name: Any = "BTC-PERPETUAL", **more: Any) -> dict[str, Any]:
    usual = {
        "instrument_name": name,
        "creation_timestamp": 1_534_242_287_000,
        "settlement_period": "perpetual",
    }
    return usual | more


@pytest.mark.parametrize(
    "bad",
    [
        *(perpetual(name) for name in (None, 7, [], "", "a/b", "..", "x'y", "nul\x00", "\ud800", "X" * 65)),
        *(perpetual("X", creation_timestamp=at) for at in (None, "1", 1e30, True, -1, 0, 10**15, 10**400)),
    ],
    ids=lambda row: ascii(row)[:50],
)
def test_a_perpetual_that_cannot_be_used_is_named_and_spoils_no_other(bad):
    listed = parse_instruments([bad, perpetual()])
    assert [found.name for found in listed.perpetuals] == ["BTC-PERPETUAL"]
    (reason,) = listed.refused.values()
    assert reason.isprintable()
    assert len(reason) < 200
    with pytest.raises(BadReplyError, match="expected a usable perpetual"):
        parse_instruments([bad])


@pytest.mark.parametrize("name", ["BTC-PERPETUAL", "BTC_USDC-PERPETUAL", "1INCH.X_USDC-PERPETUAL", "X" * 64])
def test_names_of_letters_digits_and_a_few_signs_are_taken(name):
    assert parse_instruments([perpetual(name)]).perpetuals[0].name == name


def test_a_perpetual_that_is_listed_twice_is_one():
    listed = parse_instruments([perpetual(), perpetual()])
    assert [found.name for found in listed.perpetuals] == ["BTC-PERPETUAL"]


def test_what_a_perpetual_says_beside_its_name_cannot_stop_a_load():
    odd = perpetual(base_currency="B\x00C", quote_currency="\ud800", tick_size=10**400, is_active="yes")
    (found,) = parse_instruments([odd]).perpetuals
    assert (found.base_currency, found.quote_currency, found.tick_size, found.is_active) == (None,) * 4


def test_recorded_errors(shared):
    recorded = shared / "deribit/recorded"
    with pytest.raises(PermanentError, match="instrument not found"):
        decode(400, {}, (recorded / "error_instrument_not_found.json").read_bytes(), "h")
    with pytest.raises(TransientError, match="too_many_requests"):
        decode(200, {}, (recorded / "error_too_many_requests.json").read_bytes(), "h")


def test_recorded_listing_holds_21_perpetuals(shared):
    body = json.loads((shared / "deribit/recorded/get_instruments_any_future_2025-01-06.json").read_text())
    listed = parse_instruments(body["result"]).perpetuals
    assert len(listed) == 21
    btc = next(found for found in listed if found.name == "BTC-PERPETUAL")
    assert (btc.created_ms, btc.instrument_type) == (1_534_242_287_000, "reversed")


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("chart_BTC-PERPETUAL_1_2020-03-11_with_forming_candle", "1"),
        ("chart_BTC-PERPETUAL_720_2024-12-01", "720"),
        ("chart_no_data", "1"),
    ],
)
def test_recorded_charts_are_read_as_they_are_and_on_the_grid(name, resolution, shared):
    body = (shared / f"deribit/recorded/{name}.json").read_bytes()
    ticks = json.loads(body)["result"]["ticks"]
    asked = Seed(body, RESOLUTIONS[resolution], *((ticks[0], ticks[-1]) if ticks else (0, 1)))
    assert check(asked, body)
    result = decode(200, {}, body, "h").result
    assert parse_chart(result, asked.resolution, asked.start_ms, asked.end_ms).off_grid == 0
