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
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from extract.errors import PerpsError, UsageError
from extract.simulator import SimulatorConfig, running
from extract.simulator.candles import COLUMNS
from extract.simulator.faultparsing import parse_faults

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "deribit"
BTC, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
CLOCK = "2024-07-01T00:00:26.700Z"
TICK = 1_719_792_000_000
MINUTE = 60_000


class Client:
    """A session against one running simulator."""

    def __init__(self, base_url: str) -> None:
        self.base = base_url
        self.root = base_url.removesuffix("/api/v2")
        self.session = requests.Session()

    def get(self, method: str, **params) -> requests.Response:
        return self.session.get(f"{self.base}/public/{method}", params=params, timeout=30)

    def chart(self, **params) -> requests.Response:
        window = {"start_timestamp": TICK - 10 * MINUTE, "end_timestamp": TICK - MINUTE}
        asked = {"instrument_name": BTC, "resolution": "1", **window, **params}
        return self.get("get_tradingview_chart_data", **{k: v for k, v in asked.items() if v is not None})

    def control(self, name: str, body=None, **params) -> requests.Response:
        url = f"{self.root}/simulator/{name}"
        if body is None:
            return self.session.get(url, params=params, timeout=30)
        return self.session.post(url, json=body, timeout=30)

    def faults(self, *items) -> None:
        assert self.control("faults", list(items)).json() == {"faults": len(items)}


@pytest.fixture
def client():
    with running(SimulatorConfig(clock=CLOCK, requests_per_second=None)) as simulated:
        yield Client(simulated.base_url)


def recorded(name: str) -> dict:
    path = SHARED / "recorded" / name
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout")
    return json.loads(path.read_text())


# what Deribit answers


@pytest.mark.parametrize(
    "name",
    ["chart_BTC-PERPETUAL_1_2020-03-11_with_forming_candle.json", "chart_BTC-PERPETUAL_720_2024-12-01.json"],
)
def test_a_chart_has_the_keys_and_types_of_a_recorded_one(client, name):
    real = recorded(name)
    ours = client.chart().json()
    assert set(ours) == set(real)
    assert set(ours["result"]) == set(real["result"])
    for key, value in real.items():
        assert type(ours[key]) is type(value), key
    for key, value in real["result"].items():
        assert type(ours["result"][key]) is type(value), key
    assert ours["usOut"] - ours["usIn"] == ours["usDiff"]


def test_integers_and_floats_mix_inside_a_column_as_recorded(client):
    real = recorded("chart_BTC-PERPETUAL_1_2020-03-11_with_forming_candle.json")["result"]
    ours = client.chart(start_timestamp=0).json()["result"]
    for column in ("open", "volume"):
        assert {type(number) for number in real[column]} == {int, float}
        assert {type(number) for number in ours[column]} == {int, float}
    whole = [number for number in ours["open"] if number == int(number)]
    assert {type(number) for number in whole} == {int, float}


def test_no_data_reads_exactly_as_recorded(client):
    reply = client.chart(start_timestamp=0, end_timestamp=1_000_000)
    assert reply.status_code == 200
    assert reply.json()["result"] == {**{name: [] for name in COLUMNS}, "status": "no_data"}
    assert reply.json()["result"] == recorded("chart_no_data.json")["result"]


def test_an_unknown_instrument_reads_exactly_as_recorded(client):
    reply = client.chart(instrument_name="BTC-PERPETUALX")
    assert reply.status_code == 400
    assert reply.json()["error"] == {
        "message": "Invalid params",
        "data": {"reason": "instrument not found", "param": "instrument_name"},
        "code": -32602,
    }
    real = recorded("error_instrument_not_found.json")
    assert reply.json()["error"] == real["error"]
    assert set(reply.json()) == set(real)


def test_too_many_requests_reads_as_recorded(client):
    client.faults({"kind": "error", "code": 10028, "status": 429})
    assert client.chart().json()["error"] == recorded("error_too_many_requests.json")["error"]


def test_an_unsupported_resolution_is_refused(client):
    reply = client.chart(resolution="7")
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == -32602
    assert reply.json()["error"]["data"] == {"reason": "unsupported resolution", "param": "resolution"}


@pytest.mark.parametrize("missing", ["instrument_name", "start_timestamp", "end_timestamp", "resolution"])
def test_all_four_parameters_are_required(client, missing):
    reply = client.chart(**{missing: None})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, -32602)
    assert reply.json()["error"]["data"]["param"] == missing


def test_a_window_without_whole_numbers_is_refused(client):
    assert client.chart(start_timestamp="yesterday").json()["error"]["data"]["param"] == "start_timestamp"
    assert client.chart(end_timestamp="1e12").json()["error"]["data"]["param"] == "end_timestamp"


def test_both_ends_are_inclusive_and_the_start_is_floored(client):
    ticks = client.chart(start_timestamp=TICK - 3 * MINUTE + 1, end_timestamp=TICK - MINUTE).json()["result"][
        "ticks"
    ]
    assert ticks == [TICK - 3 * MINUTE, TICK - 2 * MINUTE, TICK - MINUTE]


def test_a_wider_window_is_cut_to_the_newest_5001_rows(client):
    result = client.chart(start_timestamp=TICK - 9000 * MINUTE).json()["result"]
    assert result["status"] == "ok"
    assert [len(result[name]) for name in COLUMNS] == [5001] * 7
    assert (result["ticks"][0], result["ticks"][-1]) == (TICK - 5001 * MINUTE, TICK - MINUTE)


def test_the_forming_candle_is_included_and_changes_until_it_closes(client):
    def last() -> tuple:
        result = client.chart(end_timestamp=TICK + 10**9).json()["result"]
        at = result["ticks"].index(TICK)
        return result["volume"][at], result["close"][at]

    forming = last()
    client.control("clock", {"advance_ms": 20_000})
    later = last()
    client.control("clock", {"now": "2024-07-01T00:01:00Z"})
    closed = last()
    client.control("clock", {"advance_ms": 3_600_000})
    assert forming[0] < later[0] < closed[0]
    assert last() == closed


def test_day_and_half_day_candles_open_at_the_settlement_hour(client):
    for resolution, hours in (("1D", {8}), ("720", {8, 20})):
        ticks = client.chart(resolution=resolution, start_timestamp=TICK - 5 * 86_400_000).json()["result"][
            "ticks"
        ]
        assert {tick // 3_600_000 % 24 for tick in ticks} == hours


def test_key_order_varies(client):
    orders = {tuple(client.chart(end_timestamp=TICK - n * MINUTE).json()) for n in range(1, 5)}
    inner = {tuple(client.chart(end_timestamp=TICK - n * MINUTE).json()["result"]) for n in range(1, 5)}
    assert len(orders) == len(inner) == 2


def test_the_same_candle_reads_the_same_in_every_window(client):
    wide = client.chart(start_timestamp=0).json()["result"]
    narrow = client.chart().json()["result"]
    for name in COLUMNS:
        assert [repr(number) for number in wide[name][-10:]] == [repr(number) for number in narrow[name]]


def test_instruments_have_the_fields_of_a_recorded_one(client):
    rows = {
        row["instrument_name"]: row for row in client.get("get_instruments", currency="any").json()["result"]
    }
    real = recorded("get_instruments_BTC-PERPETUAL_2026-09-20.json")
    real = real.get("result", real)
    assert set(rows[BTC]) == set(real)
    for name in ("creation_timestamp", "instrument_type", "settlement_period", "quote_currency", "tick_size"):
        assert rows[BTC][name] == real[name]


def test_instruments_are_filtered_by_currency_kind_and_expiry(client):
    def names(**params) -> list[str]:
        return [row["instrument_name"] for row in client.get("get_instruments", **params).json()["result"]]

    everything = names(currency="any", kind="future", expired="false")
    assert {BTC, ETH, "SOL_USDC-PERPETUAL"} < set(everything)
    assert any(not name.endswith("-PERPETUAL") for name in everything)
    assert all(name.startswith("BTC-") for name in names(currency="BTC"))
    assert all("_USDC-" in name for name in names(currency="USDC"))
    assert names(currency="any", kind="option") == names(currency="any", expired="true") == []
    assert client.get("get_instruments").status_code == 400
    assert client.get("get_instruments", currency="XYZ").json()["error"]["data"]["param"] == "currency"


def test_an_instrument_appears_when_the_clock_reaches_its_listing(client):
    client.control("clock", {"now": "2019-03-14T13:00:54Z"})
    rows = client.get("get_instruments", currency="any").json()["result"]
    assert {row["instrument_name"] for row in rows if row["settlement_period"] == "perpetual"} == {BTC, ETH}
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


def test_beyond_the_burst_requests_are_refused():
    config = SimulatorConfig(clock=CLOCK, requests_per_second=0.001, burst=5, limit_retry_after=True)
    with running(config) as simulated:
        client = Client(simulated.base_url)
        replies = [client.chart() for _ in range(8)]
        assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 3
        assert replies[-1].json()["error"]["code"] == 10028
        assert int(replies[-1].headers["Retry-After"]) > 1
        assert [served.limited for served in simulated.simulator.log] == [False] * 5 + [True] * 3
        assert client.get("get_instruments", currency="any").status_code == 200


def test_the_status_of_a_refused_request_can_be_chosen():
    config = SimulatorConfig(clock=CLOCK, requests_per_second=0.001, burst=1, limit_status=400)
    with running(config) as simulated:
        client = Client(simulated.base_url)
        client.chart()
        refused = client.chart()
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, 10028)
        assert "Retry-After" not in refused.headers


def test_instruments_have_a_limit_of_their_own():
    with running(SimulatorConfig(clock=CLOCK)) as simulated:
        client = Client(simulated.base_url)
        statuses = [client.get("get_instruments", currency="BTC").status_code for _ in range(70)]
        assert statuses[:50] == [200] * 50
        assert 429 in statuses


def test_concurrent_clients_share_one_budget():
    with running(SimulatorConfig(clock=CLOCK, requests_per_second=0.001, burst=20)) as simulated:
        codes: list[int] = []

        def ask() -> None:
            client = Client(simulated.base_url)
            codes.extend(client.get("get_time").status_code for _ in range(10))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [200] * 20 + [429] * 40


# faults on the wire


@pytest.mark.parametrize("status", [200, 403, 429, 500, 502, 503, 520])
def test_a_proxy_page_comes_with_any_status(client, status):
    client.faults({"kind": "http", "status": status, "times": 1, "retry_after": 2})
    reply = client.chart()
    assert reply.status_code == status
    assert reply.headers["Content-Type"] == "text/html" and reply.text.startswith("<html>")
    assert reply.headers["Retry-After"] == "2"
    assert client.chart().json()["result"]["status"] == "ok"


@pytest.mark.parametrize(
    "code", [10028, 10040, 10041, 10047, 10066, 11051, 11094, 13028, 13888, 13009, -32602]
)
@pytest.mark.parametrize("status", [200, 400, 503])
def test_an_error_code_comes_with_any_status(client, code, status):
    client.faults({"kind": "error", "code": code, "status": status, "times": 1})
    reply = client.chart()
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert client.chart().status_code == 200


def test_truncated_json_does_not_parse(client):
    whole = client.chart().content
    client.faults({"kind": "truncated"})
    reply = client.chart()
    assert reply.status_code == 200 and len(reply.content) < len(whole)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        reply.json()


def test_a_wrong_content_length_is_an_incomplete_read(client):
    client.faults({"kind": "content_length", "times": 1})
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.chart()
    assert client.chart().status_code == 200


def test_a_reset_ends_the_connection_without_a_reply(client):
    client.faults({"kind": "reset", "times": 1})
    with pytest.raises(requests.exceptions.ConnectionError, match="reset"):
        client.chart()
    assert client.chart().status_code == 200


def test_a_hanging_reply_outlasts_the_clients_patience_and_not_the_server(client):
    client.faults({"kind": "hang", "seconds": 3600, "times": 1})
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(
            f"{client.base}/public/get_tradingview_chart_data?instrument_name={BTC}&resolution=1"
            f"&start_timestamp={TICK}&end_timestamp={TICK}",
            timeout=0.3,
        )
    assert client.chart().status_code == 200


def test_a_page_can_be_smaller(client):
    client.faults({"kind": "max_rows", "rows": 3})
    assert client.chart().json()["result"]["ticks"] == [TICK - n * MINUTE for n in (3, 2, 1)]


def test_content_faults_reach_the_reply(client):
    client.faults(
        {"kind": "unequal"}, {"kind": "status"}, {"kind": "value", "column": "open", "value": "1e400"}
    )
    result = client.chart().json()["result"]
    assert len(result["close"]) == 9 and result["status"] == "weird" and result["open"][-1] == float("inf")


def test_a_wrong_fault_is_refused_with_a_line(client):
    reply = client.control("faults", [{"kind": "nope"}])
    assert reply.status_code == 400
    assert "expected fault 0 of a kind" in reply.json()["error"]


# control


def test_the_truth_is_the_closed_candles_as_they_are_served(client):
    outage = {"kind": "outage", "start": TICK - 5 * MINUTE, "end": TICK - 3 * MINUTE}
    bad = {"kind": "bad_candle", "instrument": BTC, "at": TICK - 2 * MINUTE, "values": {"volume": -1}}
    client.faults(outage, bad)
    text = client.control(
        "truth", instrument=BTC, resolution="1", start=TICK - 10 * MINUTE, end=TICK + 10**9
    ).text
    rows = list(csv.DictReader(text.splitlines()))
    served = client.chart(end_timestamp=TICK).json()["result"]
    assert served["ticks"].pop() == TICK
    assert (
        [int(row["ticks"]) for row in rows]
        == served["ticks"]
        == [TICK - n * MINUTE for n in (10, 9, 8, 7, 6, 3, 2, 1)]
    )
    for name in COLUMNS[1:]:
        assert [float(row[name]) for row in rows] == served[name][:8]
    assert rows[-2]["volume"] == "-1.0"


def test_the_truth_names_what_it_does_not_know(client):
    assert "expected a listed instrument" in client.control("truth", instrument="X").json()["error"]
    assert "expected a resolution" in client.control("truth", instrument=BTC, resolution="7").json()["error"]
    assert client.control("nothing").status_code == 404


def test_the_log_and_the_counters_tell_what_was_asked(client):
    client.chart()
    client.chart(instrument_name="X")
    log = client.control("requests").json()
    assert [(row["instrument"], row["status"], row["rows"]) for row in log] == [(BTC, 200, 10), ("X", 400, 0)]
    assert (log[0]["start"], log[0]["end"]) == (TICK - 10 * MINUTE, TICK - MINUTE)
    state = client.control("state").json()
    assert (state["now_ms"], state["frozen"]) == (TICK + 26_700, True)
    assert (state["counters"]["requests"], state["counters"]["rows"]) == (2, 10)


def test_a_clock_body_that_is_none_is_refused(client):
    assert client.control("clock", {"tomorrow": 1}).status_code == 400
    assert client.session.post(f"{client.root}/simulator/clock", data=b"{", timeout=5).status_code == 400


# running it


def test_a_recorded_file_is_replayed_row_for_row():
    path = SHARED / "BTC-PERPETUAL_1D_2018-08-14_2022-12-31.csv"
    if not path.exists():
        pytest.skip("the daily candles are not beside this checkout")
    with path.open() as file:
        expected = [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
    with running(SimulatorConfig(candles=path, requests_per_second=None)) as simulated:
        client = Client(simulated.base_url)
        result = client.chart(resolution="1D", start_timestamp=0).json()["result"]
        assert list(zip(*(map(float, result[name]) for name in COLUMNS), strict=True)) == expected
        assert len(expected) == 1601
        assert client.chart(resolution="1").json()["result"]["status"] == "no_data"
        [row] = client.get("get_instruments", currency="BTC").json()["result"][:1]
        assert row["creation_timestamp"] == expected[0][0]


def test_stopping_ends_hanging_replies_and_open_connections():
    hang = parse_faults([{"kind": "hang", "seconds": 3600}])
    before = set(threading.enumerate())
    with running(SimulatorConfig(clock=CLOCK, faults=hang)) as simulated:
        host, port = urlsplit(simulated.base_url).netloc.split(":")
        connection = socket.create_connection((host, int(port)), timeout=20)
        query = f"instrument_name={BTC}&resolution=1&start_timestamp={TICK}&end_timestamp={TICK}"
        connection.sendall(f"GET /api/v2/public/get_tradingview_chart_data?{query} HTTP/1.1\r\n\r\n".encode())
        deadline = time.monotonic() + 20
        while not simulated.simulator.log and time.monotonic() < deadline:
            time.sleep(0.01)
        assert simulated.simulator.log
        started = set(threading.enumerate()) - before
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
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:") and url.endswith("/api/v2")
        assert requests.get(f"{url}/public/get_time", timeout=10).json()["result"] == TICK
        process.send_signal(number)
        assert process.stdout.readline().strip() == "stopped"
        assert process.wait(timeout=20) == 0


def test_a_port_in_use_is_one_line():
    with running() as simulated:
        port = int(urlsplit(simulated.base_url).port)
        with (
            pytest.raises(PerpsError, match=f"expected port {port} to be free"),
            running(SimulatorConfig(port=port)),
        ):
            pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"port": 70_000}, "port from 0 to 65535"),
        ({"latency_ms": -1}, "latency-ms"),
        ({"requests_per_second": 0}, "requests-per-second above 0"),
        ({"burst": 0}, "burst of at least 1"),
        ({"extra_instruments": -1}, "instruments from 0"),
        ({"limit_status": 302}, "limit status"),
        ({"instrument": ETH}, "expected --candles"),
        ({"candles": Path("any.csv"), "prepare": ()}, "expected --prepare without --candles"),
        ({"clock": "noon"}, "expected clock as an ISO time"),
    ],
)
def test_options_that_cannot_work_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        SimulatorConfig(**options)


def test_only_listed_instruments_can_be_prepared():
    with (
        pytest.raises(UsageError, match="got DOGE-PERPETUAL"),
        running(SimulatorConfig(prepare=("DOGE-PERPETUAL",))),
    ):
        pass


def test_faults_are_read_from_a_file(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text('[{"kind": "http", "status": 520}]')
    with running(SimulatorConfig(faults=path)) as simulated:
        assert Client(simulated.base_url).chart().status_code == 520
    path.write_text("[")
    with (
        pytest.raises(UsageError, match="expected a JSON file of faults"),
        running(SimulatorConfig(faults=path)),
    ):
        pass
