"""The local Deribit through HTTP: it answers as recorded, limits, fails on demand and can be steered."""

from __future__ import annotations

import csv
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from extract.errors import PerpsError, UsageError
from extract.simulator import SimulatorConfig, running
from extract.simulator.candles import COLUMNS
from extract.simulator.faultparsing import parse_faults
from tests.support.exchange import BTC, ETH, simulated
from tests.support.perps import PROJECT
from tests.support.truth import truth_rows
from tests.support.waiting import wait_until

CLOCK = "2024-07-01T00:00:26.700Z"
TICK = 1_719_792_000_000
MINUTE = 60_000
STRICT = {"clock": CLOCK, "requests_per_second": 0.001}


class Client:
    """A session against one running simulator."""

    def __init__(self, base_url: str) -> None:
        self.base = base_url
        self.root = base_url.removesuffix("/api/v2")
        self.session = requests.Session()

    def get(self, method: str, **params: Any) -> requests.Response:
        return self.session.get(f"{self.base}/public/{method}", params=params, timeout=30)

    def chart(self, **params: Any) -> requests.Response:
        window = {"start_timestamp": TICK - 10 * MINUTE, "end_timestamp": TICK - MINUTE}
        asked = {"instrument_name": BTC, "resolution": "1", **window, **params}
        return self.get("get_tradingview_chart_data", **{k: v for k, v in asked.items() if v is not None})

    def control(self, name: str, body: Any = None, **params: Any) -> requests.Response:
        url = f"{self.root}/simulator/{name}"
        if body is None:
            return self.session.get(url, params=params, timeout=30)
        return self.session.post(url, json=body, timeout=30)

    def faults(self, *items: dict[str, Any]) -> None:
        assert self.control("faults", list(items)).json() == {"faults": len(items)}


@pytest.fixture
def client() -> Iterator[Client]:
    with simulated(clock=CLOCK) as exchange:
        yield Client(exchange.base_url)


# what Deribit answers


def test_replies_have_the_form_of_recorded_ones(client, shared):
    def recorded(name: str) -> Any:
        return json.loads((shared / "deribit" / "recorded" / name).read_text())

    real = recorded("chart_BTC-PERPETUAL_1_2020-03-11_with_forming_candle.json")
    ours = client.chart(start_timestamp=0).json()
    for mine, its in ((ours, real), (ours["result"], real["result"])):
        assert {key: type(value) for key, value in mine.items()} == {k: type(v) for k, v in its.items()}
    for column in ("open", "volume"):
        assert {type(number) for number in real["result"][column]} == {int, float}

    instruments = client.get("get_instruments", currency="any").json()["result"]
    ours = next(row for row in instruments if row["instrument_name"] == BTC)
    real = recorded("get_instruments_BTC-PERPETUAL_2026-09-20.json")
    real = real.get("result", real)
    assert set(ours) == set(real)
    for name in ("creation_timestamp", "instrument_type", "settlement_period", "quote_currency", "tick_size"):
        assert ours[name] == real[name]

    nothing = client.chart(start_timestamp=0, end_timestamp=1_000_000).json()
    assert nothing["result"] == recorded("chart_no_data.json")["result"]
    unknown, real = client.chart(instrument_name="X").json(), recorded("error_instrument_not_found.json")
    assert (unknown["error"], set(unknown)) == (real["error"], set(real))
    client.faults({"kind": "error", "code": 10028, "status": 429})
    assert client.chart().json()["error"] == recorded("error_too_many_requests.json")["error"]


def test_integers_and_floats_mix_inside_a_column_the_same_in_every_window(client):
    wide, narrow = client.chart(start_timestamp=0).json()["result"], client.chart().json()["result"]
    assert {type(number) for number in wide["open"] if number == int(number)} == {int, float}
    for name in COLUMNS:
        assert [repr(number) for number in wide[name][-10:]] == [repr(number) for number in narrow[name]]


def test_a_window_without_candles_is_no_data(client):
    reply = client.chart(start_timestamp=0, end_timestamp=1_000_000)
    assert reply.status_code == 200
    assert reply.json()["result"] == {**{name: [] for name in COLUMNS}, "status": "no_data"}


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"instrument_name": "BTC-PERPETUALX"}, "instrument_name"),
        ({"resolution": "7"}, "resolution"),
        ({"start_timestamp": "yesterday"}, "start_timestamp"),
        ({"end_timestamp": "1e12"}, "end_timestamp"),
        *(({name: None}, name) for name in ("instrument_name", "start_timestamp", "resolution")),
    ],
)
def test_a_parameter_that_is_wrong_or_missing_is_named(client, params, wrong):
    reply = client.chart(**params)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["data"]["param"]) == (400, -32602, wrong)


def test_a_wider_window_is_cut_to_the_newest_5001_rows(client):
    result = client.chart(start_timestamp=TICK - 9000 * MINUTE).json()["result"]
    assert result["status"] == "ok"
    assert [len(result[name]) for name in COLUMNS] == [5001] * 7
    assert (result["ticks"][0], result["ticks"][-1]) == (TICK - 5001 * MINUTE, TICK - MINUTE)


def test_key_order_varies(client):
    replies = [client.chart(end_timestamp=TICK - n * MINUTE).json() for n in range(1, 5)]
    assert len({tuple(reply) for reply in replies}) == len({tuple(reply["result"]) for reply in replies}) == 2


def test_instruments_are_filtered_by_currency_kind_expiry_and_listing(client):
    def names(**params: str) -> list[str]:
        return [row["instrument_name"] for row in client.get("get_instruments", **params).json()["result"]]

    everything = names(currency="any", kind="future", expired="false")
    assert {BTC, ETH, "SOL_USDC-PERPETUAL"} < set(everything)
    assert any(not name.endswith("-PERPETUAL") for name in everything)
    bitcoin, usdc = names(currency="BTC"), names(currency="USDC")
    assert BTC in bitcoin and all(name.startswith("BTC-") for name in bitcoin)
    assert "SOL_USDC-PERPETUAL" in usdc and all("_USDC-" in name for name in usdc)
    assert names(currency="any", kind="option") == names(currency="any", expired="true") == []
    assert client.get("get_instruments").status_code == 400
    assert client.get("get_instruments", currency="XYZ").json()["error"]["data"]["param"] == "currency"

    client.control("clock", {"now": "2019-03-14T13:00:54Z"})
    assert {name for name in names(currency="any") if name.endswith("-PERPETUAL")} == {BTC, ETH}
    client.control("clock", {"now": "2019-03-14T13:00:53Z"})
    assert client.chart(instrument_name=ETH).json()["error"]["data"]["reason"] == "instrument not found"


def test_time_and_status_answer(client):
    assert client.get("get_time").json()["result"] == TICK + 26_700
    assert client.get("status").json()["result"] == {"locked": "false"}
    unknown = client.get("nothing")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, -32601)


def test_every_reply_says_that_it_is_simulated(client):
    client.faults({"kind": "http", "status": 502, "times": 1})
    replies = [client.chart(), client.chart(), client.chart(resolution="7"), client.control("state")]
    assert [reply.status_code for reply in replies] == [502, 200, 400, 200]
    assert {reply.headers["X-Perps-Simulator"] for reply in replies} == {"seed=7"}


def test_a_connection_is_kept_alive(client):
    connection = http.client.HTTPConnection(urlsplit(client.root).netloc, timeout=10)
    connection.request("GET", "/api/v2/public/status")
    connection.getresponse().read()
    first = connection.sock
    connection.request("GET", "/api/v2/public/status")
    assert connection.getresponse().status == 200
    assert connection.sock is first
    connection.close()


# limits


@pytest.mark.parametrize(
    ("options", "status", "waits"),
    [({"limit_retry_after": True}, 429, True), ({"limit_status": 400}, 400, False)],
)
def test_beyond_the_burst_requests_are_refused(options, status, waits):
    with simulated(**STRICT, burst=5, **options) as exchange:
        client = Client(exchange.base_url)
        replies = [client.chart() for _ in range(8)]
        assert [reply.status_code for reply in replies] == [200] * 5 + [status] * 3
        assert replies[-1].json()["error"]["code"] == 10028
        assert ("Retry-After" in replies[-1].headers) == waits
        assert [served.limited for served in exchange.simulator.log] == [False] * 5 + [True] * 3
        assert client.get("get_instruments", currency="any").status_code == 200, "that has its own limit"
        statuses = [client.get("get_instruments", currency="BTC").status_code for _ in range(70)]
        assert statuses[:49] == [200] * 49
        assert status in statuses


def test_concurrent_clients_share_one_budget():
    with simulated(**STRICT, burst=20) as exchange:
        codes: list[int] = []

        def ask() -> None:
            client = Client(exchange.base_url)
            codes.extend(client.get("get_time").status_code for _ in range(10))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [200] * 20 + [429] * 40


# faults on the wire


@pytest.mark.parametrize("status", [200, 502])
def test_a_proxy_page_comes_with_any_status(client, status):
    client.faults({"kind": "http", "status": status, "times": 1, "retry_after": 2})
    reply = client.chart()
    assert (reply.status_code, reply.headers["Content-Type"]) == (status, "text/html")
    assert reply.text.startswith("<html>")
    assert reply.headers["Retry-After"] == "2"
    assert client.chart().json()["result"]["status"] == "ok"


@pytest.mark.parametrize(("code", "status"), [(10028, 200), (11051, 400), (-32602, 503)])
def test_an_error_code_comes_with_any_status(client, code, status):
    client.faults({"kind": "error", "code": code, "status": status, "times": 1})
    reply = client.chart()
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert client.chart().status_code == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "truncated"}, requests.exceptions.JSONDecodeError),
        ({"kind": "content_length"}, requests.exceptions.ChunkedEncodingError),
        ({"kind": "reset"}, requests.exceptions.ConnectionError),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_reply_breaks_once(client, fault, error):
    client.faults({**fault, "times": 1})
    with pytest.raises(error):
        client.chart().json()
    assert client.chart().status_code == 200


def test_a_hanging_reply_outlasts_the_clients_patience_and_not_the_server(client):
    client.faults({"kind": "hang", "seconds": 3600, "times": 1})
    window = f"instrument_name={BTC}&resolution=1&start_timestamp={TICK}&end_timestamp={TICK}"
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{client.base}/public/get_tradingview_chart_data?{window}", timeout=0.3)
    assert client.chart().status_code == 200


def test_content_faults_reach_the_reply(client):
    infinite = {"kind": "value", "column": "open", "value": "1e400"}
    client.faults({"kind": "max_rows", "rows": 3}, {"kind": "unequal"}, {"kind": "status"}, infinite)
    result = client.chart().json()["result"]
    assert result["ticks"] == [TICK - n * MINUTE for n in (3, 2, 1)]
    assert (len(result["close"]), result["status"], result["open"][-1]) == (2, "weird", float("inf"))


# control


def test_the_truth_is_the_closed_candles_as_they_are_served(client):
    outage = {"kind": "outage", "start": TICK - 5 * MINUTE, "end": TICK - 3 * MINUTE}
    bad = {"kind": "bad_candle", "instrument": BTC, "at": TICK - 2 * MINUTE, "values": {"volume": -1}}
    client.faults(outage, bad)
    asked = {"instrument": BTC, "resolution": "1", "start": TICK - 10 * MINUTE, "end": TICK + 10**9}
    rows = list(csv.DictReader(client.control("truth", **asked).text.splitlines()))
    served = client.chart(end_timestamp=TICK).json()["result"]
    assert served["ticks"].pop() == TICK
    assert served["ticks"] == [TICK - n * MINUTE for n in (10, 9, 8, 7, 6, 3, 2, 1)]
    for name in COLUMNS:
        assert [float(row[name]) for row in rows] == served[name][:8]
    assert rows[-2]["volume"] == "-1.0"


def test_the_log_and_the_counters_tell_what_was_asked(client):
    client.chart()
    client.chart(instrument_name="X")
    log = client.control("requests").json()
    assert [(row["instrument"], row["status"], row["rows"]) for row in log] == [(BTC, 200, 10), ("X", 400, 0)]
    assert (log[0]["start"], log[0]["end"]) == (TICK - 10 * MINUTE, TICK - MINUTE)
    state = client.control("state").json()
    assert (state["now_ms"], state["frozen"]) == (TICK + 26_700, True)
    assert (state["counters"]["requests"], state["counters"]["rows"]) == (2, 10)


def test_what_control_does_not_know_is_refused(client):
    assert client.control("clock", {"tomorrow": 1}).status_code == 400
    assert client.session.post(f"{client.root}/simulator/clock", data=b"{", timeout=5).status_code == 400
    assert client.control("nothing").status_code == 404
    for refused, named in (
        (client.control("faults", [{"kind": "nope"}]), "fault 0"),
        (client.control("truth", instrument="X"), "instrument"),
        (client.control("truth", instrument=BTC, resolution="7"), "resolution"),
    ):
        assert (refused.status_code, named in refused.json()["error"]) == (400, True)


# running it


def test_stopping_ends_hanging_replies_and_open_connections():
    hang = parse_faults([{"kind": "hang", "seconds": 3600}])
    before = set(threading.enumerate())
    with running(SimulatorConfig(clock=CLOCK, faults=hang)) as exchange:
        host, port = urlsplit(exchange.base_url).netloc.split(":")
        connection = socket.create_connection((host, int(port)), timeout=20)
        query = f"instrument_name={BTC}&resolution=1&start_timestamp={TICK}&end_timestamp={TICK}"
        connection.sendall(f"GET /api/v2/public/get_tradingview_chart_data?{query} HTTP/1.1\r\n\r\n".encode())
        wait_until(lambda: len(exchange.simulator.log) > 0, "the request")
        started = set(threading.enumerate()) - before
    assert started
    for thread in started:
        thread.join(20)
    assert not any(thread.is_alive() for thread in started)
    connection.settimeout(20)
    while connection.recv(65536):
        pass
    connection.close()


SCRIPT = """
import sys
from extract.simulator import SimulatorConfig, serve
serve(SimulatorConfig(clock="2024-07-01"), lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_announces_its_address_and_stops_on_a_signal(number):
    command = ["env", "--default-signal=INT", sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:") and url.endswith("/api/v2")
        assert requests.get(f"{url}/public/get_time", timeout=10).json()["result"] == TICK
        process.send_signal(number)
        assert process.stdout.readline().strip() == "stopped"
        assert process.wait(timeout=20) == 0


def test_a_port_in_use_is_named():
    with simulated() as exchange:
        port = int(exchange.base_url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(PerpsError, match=f"port {port}"), simulated(port=port):
            pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"port": 70_000}, "port"),
        ({"latency_ms": -1}, "latency-ms"),
        ({"requests_per_second": 0}, "requests-per-second"),
        ({"burst": 0}, "burst"),
        ({"extra_instruments": -1}, "instruments"),
        ({"limit_status": 302}, "limit status"),
        ({"instrument": ETH}, "--candles"),
        ({"candles": Path("any.csv"), "prepare": ()}, "--prepare"),
        ({"clock": "noon"}, "clock"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, said):
    with pytest.raises(UsageError, match=said):
        SimulatorConfig(**options)


def test_only_listed_instruments_can_be_prepared():
    with pytest.raises(UsageError, match="DOGE-PERPETUAL"), simulated(prepare=("DOGE-PERPETUAL",)):
        pass


def test_faults_are_read_from_a_file(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text('[{"kind": "http", "status": 520}]')
    with simulated(faults=path) as exchange:
        assert Client(exchange.base_url).chart().status_code == 520
    path.write_text("[")
    with pytest.raises(UsageError, match="JSON file of faults"), simulated(faults=path):
        pass


# funding and settlements


@pytest.mark.parametrize("endpoint", ["funding", "settlements"])
def test_the_truth_of_rows_is_what_the_endpoint_tells(client, endpoint):
    hours = {"start_timestamp": TICK - 50 * 60 * MINUTE, "end_timestamp": TICK}
    if endpoint == "funding":
        told = client.get("get_funding_rate_history", instrument_name=BTC, **hours).json()["result"]
    else:
        page = client.get("get_last_settlements_by_instrument", instrument_name=BTC).json()["result"]
        told = page["settlements"][::-1]
    first, last = told[0]["timestamp"], told[-1]["timestamp"]
    assert truth_rows(client.base, endpoint, BTC, first, last + 1) == told
    assert truth_rows(client.base, endpoint, BTC, first, last) == told[:-1]
    assert truth_rows(client.base, endpoint, BTC)[-len(told) :] == told
    assert truth_rows(client.base, endpoint, BTC, 0) == truth_rows(client.base, endpoint, BTC)


@pytest.mark.parametrize(
    "params", [{"endpoint": "funding", "instrument": "X"}, {"endpoint": "trades", "instrument": BTC}]
)
def test_the_truth_of_other_rows_is_refused(client, params):
    reply = client.control("truth_rows", **params)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("expected")


def test_funding_and_settlements_are_logged_like_charts(client):
    client.get("get_funding_rate_history", instrument_name=BTC, start_timestamp=0, end_timestamp=TICK)
    client.get("get_last_settlements_by_instrument", instrument_name=ETH, count=1000)
    funding, settlements = client.control("requests").json()[-2:]
    assert (funding["instrument"], funding["end"], funding["rows"]) == (BTC, TICK, 744)
    assert (settlements["instrument"], settlements["rows"], settlements["status"]) == (ETH, 1000, 200)
