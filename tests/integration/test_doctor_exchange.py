"""`perps doctor --exchange`: says of each fact whether it holds, of one that was changed that it differs."""

from __future__ import annotations

import json
import socketserver
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from extract.deribit.budget import TokenBucket
from extract.deribit.candles import VALUES
from extract.deribit.client import DeribitClient
from extract.doctor import contract
from extract.doctor.contract import Fact
from extract.doctor.facts import FACTS, GONE
from extract.doctor.rowfacts import FUNDING_LIMIT
from extract.simulator import RunningSimulator
from tests.integration.test_networks import serving
from tests.support.perps import Perps, Result, error_line

EXCHANGE = {"clock": "2026-11-20T10:20:30Z"}
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CHART, FUNDING, INSTRUMENTS = "get_tradingview_chart_data", "get_funding_rate_history", "get_instruments"
VALUE, SETTLEMENTS = "get_funding_rate_value", "get_last_settlements_by_instrument"
COLUMNS = ("ticks", *VALUES)

Asked = Mapping[str, str]
Change = Callable[[Asked, dict[str, Any]], None]
"""Changes an envelope in place."""


@dataclass
class Changing:
    """The simulator with what it lacks of Deribit, a delisted name, and one method changed."""

    simulated: RunningSimulator
    method: str = ""
    change: Change = field(default=lambda asked, envelope: None)

    def answer(self, method: str, asked: Asked) -> tuple[int, dict[str, Any]]:
        """Return the status and envelope of a request."""
        gone = asked.get("instrument_name") == GONE
        known = {**asked, "instrument_name": "BTC_USDC-PERPETUAL"} if gone else asked
        answer = self.simulated.simulator.answer(method, known)
        status, envelope = answer.status, json.loads(answer.body)
        if gone:
            still(envelope["result"])
        elif asked.get("expired") == "true":
            envelope["result"] = [{"instrument_name": GONE, "settlement_period": "perpetual"}]
        if method == self.method:
            self.change(asked, envelope)
        return 400 if "error" in envelope else status, envelope


def still(chart: dict[str, Any]) -> None:
    """Let a chart be flat, at one price and without volume."""
    for name in VALUES:
        chart[name] = [0 if name in ("volume", "cost") else 0.3] * len(chart["ticks"])


@pytest.fixture(scope="module")
def serves(exchange: RunningSimulator) -> Iterator[tuple[Changing, str]]:
    """A server of all facts, and its address."""
    changing = Changing(exchange)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # named by http.server
            url = urlsplit(self.path)
            status, envelope = changing.answer(url.path.rpartition("/")[2], dict(parse_qsl(url.query)))
            body = json.dumps(envelope).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server: socketserver.TCPServer = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # type: ignore[attr-defined]
    with serving(server) as port:
        yield changing, f"http://127.0.0.1:{port}/api/v2"


def ask(perps: Perps, api: str) -> Result:
    return perps("doctor", "--exchange", "--requests-per-second", "1000", api=api)


def by_status(done: Result) -> dict[str, list[str]]:
    """Return the names of facts by status."""
    assert "Traceback" not in done.stderr
    found: dict[str, list[str]] = {"OK": [], "DIFFERS": [], "UNKNOWN": []}
    for line in done.stdout.splitlines()[:-1]:
        found[line[:7].strip()].append(line[8:26].strip())
    return found


def test_of_the_simulator_each_fact_holds_or_says_why_it_cannot_be_seen(
    perps: Perps, exchange: RunningSimulator
) -> None:
    done = ask(perps, exchange.base_url)
    assert (done.returncode, done.stderr) == (0, "")
    found = by_status(done)
    assert found["DIFFERS"] == []
    assert sorted(found["OK"] + found["UNKNOWN"]) == sorted(fact.name for fact in FACTS)
    assert set(found["UNKNOWN"]) <= {"delisted names"}
    reasons = [line for line in done.stdout.splitlines() if line.startswith("UNKNOWN")]
    assert reasons and all("; not seen: " in line for line in reasons)


def test_of_an_exchange_that_has_them_all_each_fact_holds(perps: Perps, serves: tuple[Changing, str]) -> None:
    done = ask(perps, serves[1])
    assert done.returncode == 0, done.stdout
    assert by_status(done)["OK"] == [fact.name for fact in FACTS]


def test_an_api_that_cannot_be_reached_is_one_line(perps: Perps) -> None:
    done = ask(perps, "http://127.0.0.1:9/api/v2")
    assert done.stdout == ""
    assert "DERIBIT_API_URL" in error_line(done)


def test_an_api_that_falls_silent_is_not_asked_on(
    exchange: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "LIMIT_S", 1.0)
    silent = Fact("silent", ("a",), "code", lambda _: time.sleep(5) or "a")
    other = Fact("other", ("a", "b"), "code", lambda _: "b")
    broken = Fact("broken", ("a",), "code", lambda _: str({}["ticks"]))
    client = DeribitClient(exchange.base_url, TokenBucket(1000))
    found = [(each.status, each.found) for each in contract.examine(client, [other, broken, silent, other])]
    assert found == [
        ("OK", "b"),
        ("DIFFERS", "a reply of another form (KeyError: 'ticks')"),
        ("UNKNOWN", "no answer within 1 s"),
        ("UNKNOWN", "skipped, because the api has become too slow"),
    ]


def span(asked: Asked) -> int:
    return int(asked["end_timestamp"]) - int(asked["start_timestamp"])


def when(span_ms: int, change: Callable[[Any], None], resolution: str = "1") -> Change:
    """Change the results of windows of one length."""

    def changed(asked: Asked, envelope: dict[str, Any]) -> None:
        if "result" in envelope and (span(asked), asked.get("resolution", "1")) == (span_ms, resolution):
            change(envelope["result"])

    return changed


def keep(rows: slice, span_ms: int) -> Change:
    """Cut the charts of windows of one length."""
    return when(span_ms, lambda chart: chart.update({name: chart[name][rows] for name in COLUMNS}))


def shift(resolution: str, by_ms: int) -> Change:
    """Move the ticks of a resolution."""
    return when(4 * DAY, lambda chart: chart.update(ticks=[at + by_ms for at in chart["ticks"]]), resolution)


def refuse(parameter: str, value: str) -> Change:
    """Say of a wrong parameter something else."""

    def change(asked: Asked, envelope: dict[str, Any]) -> None:
        if asked.get(parameter) == value:
            envelope["error"] = {"code": 13020, "message": "not_found"}

    return change


def one_text(chart: dict[str, Any]) -> None:
    chart["open"][:1] = ["1"] * bool(chart["ticks"])


def cost_of_one(chart: dict[str, Any]) -> None:
    chart["cost"] = [1] * len(chart["cost"])


def drop_a_fill(chart: dict[str, Any]) -> None:
    at = chart["volume"].index(0, 1)
    for name in COLUMNS:
        del chart[name][at]


def earlier(chart: dict[str, Any]) -> None:
    chart["ticks"][0] -= HOUR


def linear(_: Asked, envelope: dict[str, Any]) -> None:
    for row in envelope["result"]:
        row["instrument_type"] = "linear"


def seconds_ahead(_: Asked, envelope: dict[str, Any]) -> None:
    envelope["result"] = envelope["usOut"] // 1000 + 5_000  # the simulator reads its clock before usOut


def ok_without_rows(_: Asked, envelope: dict[str, Any]) -> None:
    if envelope.get("result", {}).get("status") == "no_data":
        envelope["result"]["status"] = "ok"


def silence_of_the_gone(asked: Asked, envelope: dict[str, Any]) -> None:
    if asked["instrument_name"] == GONE:
        envelope["result"].update({name: [] for name in COLUMNS}, status="no_data")


def fewer(rows: list[dict[str, Any]]) -> None:
    del rows[:-100]


def one_more(rows: list[dict[str, Any]]) -> None:
    rows.insert(0, {"timestamp": rows[0]["timestamp"] - HOUR})


def half_hours(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["timestamp"] -= HOUR // 2


def unchain(rows: list[dict[str, Any]]) -> None:
    rows[5]["prev_index_price"] += 1


def half(_: Asked, envelope: dict[str, Any]) -> None:
    envelope["result"] = envelope["result"] / 2 + 1e-6


def of_page(change: Callable[[list[dict[str, Any]]], None], which: Callable[[Asked], bool]) -> Change:
    """Change the settlements of some pages."""

    def changed(asked: Asked, envelope: dict[str, Any]) -> None:
        if which(asked):
            change(envelope["result"]["settlements"])

    return changed


def first(count: int) -> Callable[[Asked], bool]:
    """Return which pages are the first of so many rows."""
    return lambda asked: asked["count"] == str(count) and "continuation" not in asked


def further(asked: Asked) -> bool:
    return "continuation" in asked


def move(by_ms: int) -> Callable[[list[dict[str, Any]]], None]:
    """Move the times of settlements."""

    def moved(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["timestamp"] += by_ms

    return moved


def cut(rows: list[dict[str, Any]]) -> None:
    del rows[500:]


QUIET, LISTED, LONG = 599 * MINUTE, 2 * DAY, (FUNDING_LIMIT + 10) * HOUR
CHANGES: dict[str, tuple[str, Change, str]] = {
    "clock": ("get_time", seconds_ahead, "5000 ms apart from usOut"),
    "perpetuals": (INSTRUMENTS, linear, "BTC-PERPETUAL is linear"),
    "form of a chart": (CHART, when(HOUR, one_text), "1 values are no numbers"),
    "row limit": (CHART, keep(slice(-1000, None), 5_100 * MINUTE), "1,000 rows, the newest, status ok"),
    "ends of a window": (CHART, keep(slice(1, None), 3 * MINUTE), "minutes 0 to 3 return 1, 2, 3"),
    "start in a minute": (CHART, keep(slice(1, None), 2 * MINUTE), "minutes 0.5 to 2.5 return 1, 2"),
    "forming candle": (CHART, keep(slice(0, -1), 5 * MINUTE), "the newest is 1 minutes before"),
    "silent minutes": (CHART, when(QUIET, drop_a_fill), "599 of 600 minutes"),
    "fills": (CHART, when(QUIET, cost_of_one), " are otherwise"),
    "before listing": (CHART, ok_without_rows, "status ok, 0 numbers in seven arrays"),
    "listing": (CHART, when(LISTED, earlier), "60 minutes of candles before creation"),
    "wrong instrument": (CHART, refuse("instrument_name", "NO_SUCH-PERPETUAL"), "13020: not_found"),
    "wrong resolution": (CHART, refuse("resolution", "7"), "13020: not_found"),
    "180 candles": (CHART, shift("180", HOUR), "open at 01:00, 04:00"),
    "360 candles": (CHART, shift("360", HOUR), "open at 01:00, 07:00"),
    "720 candles": (CHART, shift("720", -8 * HOUR), "open at 00:00, 12:00"),
    "1D candles": (CHART, shift("1D", -8 * HOUR), "open at 00:00"),
    "longer candles": (CHART, when(0, lambda chart: chart.update(high=[1]), "60"), "another high"),
    "delisted names": (CHART, silence_of_the_gone, "0 minutes an hour, at 0 prices, volume 0"),
    "funding: limit": (FUNDING, when(LONG, fewer), "100 rows, the newest"),
    "funding: ends": (FUNDING, when(3 * HOUR, one_more), "hours 0 to 3 return 0, 1, 2, 3"),
    "funding: hours": (FUNDING, when(DAY, half_hours), "24 rows at other times"),
    "funding: chain": (FUNDING, when(DAY // 2, unchain), "1 of 11 are otherwise"),
    "funding: value": (VALUE, half, "and neither sum of interest_1h"),
    "settlements: order": (SETTLEMENTS, of_page(list.reverse, first(5)), "5 of 5 rows, in another order"),
    "settlements: days": (SETTLEMENTS, of_page(move(-9 * HOUR), first(10)), "15.0 hours from 08:00"),
    "settlements: start": (SETTLEMENTS, of_page(move(30 * DAY), first(2)), "the newest lies 29 days after"),
    "settlements: count": (SETTLEMENTS, of_page(cut, first(1000)), "500 rows for a count of 1,000"),
    "settlements: pages": (SETTLEMENTS, of_page(move(3000 * DAY), further), "that is not older"),
}


def test_every_fact_is_changed_once() -> None:
    assert list(CHANGES) == [fact.name for fact in FACTS]


@pytest.mark.parametrize("name", CHANGES)
def test_a_fact_that_was_changed_and_no_other_differs(
    name: str, perps: Perps, serves: tuple[Changing, str]
) -> None:
    changing, api = serves
    changing.method, changing.change, found = CHANGES[name]
    try:
        done = ask(perps, api)
    finally:
        changing.method = ""
    assert by_status(done)["DIFFERS"] == [name], done.stdout
    assert by_status(done)["UNKNOWN"] == []
    assert f": {name}; " in error_line(done)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("DIFFERS")]
    assert found in line.partition("; found: ")[2]
