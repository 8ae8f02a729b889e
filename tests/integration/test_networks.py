"""Proxies and certificates: each right one is used, each wrong one is named by its own variable."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from extract.deribit import network
from extract.errors import UsageError
from extract.simulator import RunningSimulator
from tests.support.perps import Result, error_line, perps_command, run_program
from tests.support.tls import self_signed

ELSEWHERE = "http://perps.invalid/api/v2"  # only a proxy knows where that is
EXCHANGE = {"clock": "2024-01-01T00:10:30Z"}
NOWHERE = "127.0.0.1:9"
SECRET = "s3cret"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", *network.CERTIFICATES)


class Ask:
    """`perps instruments` as a person runs it, with nothing set but what a test sets."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        unset = {name for known in VARIABLES for name in (known, known.lower())}
        self.environment = {name: value for name, value in environment.items() if name not in unset}
        self.folder = folder

    def __call__(self, api: str, **variables: str) -> Result:
        env = self.environment | {"DERIBIT_API_URL": api, "DERIBIT_ALLOW_HTTP": "1"} | variables
        return run_program(perps_command("instruments"), env, self.folder, timeout=60)


@pytest.fixture
def ask(environment: dict[str, str], tmp_path: Path) -> Ask:
    return Ask(environment, tmp_path)


@contextlib.contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    """Serve in a thread; yield the port."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def proxy(exchange: RunningSimulator) -> Iterator[tuple[str, list[str]]]:
    """An http proxy that takes every host for the simulator: its address, and what it was asked."""
    asked: list[str] = []
    behind = urlsplit(exchange.base_url).netloc

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # named by http.server
            asked.append(self.path)
            connection = http.client.HTTPConnection(behind, timeout=10)
            connection.request("GET", self.path.partition("perps.invalid")[2])
            answer = connection.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            connection.close()

        def log_message(self, *_: object) -> None:
            pass

    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"127.0.0.1:{port}", asked


@pytest.fixture
def socks(exchange: RunningSimulator) -> Iterator[tuple[str, list[str]]]:
    """A socks5 proxy that takes every host for the simulator: its address, and what it was asked."""
    asked: list[str] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            near: socket.socket = self.request
            near.recv(2 + near.recv(2, socket.MSG_PEEK)[1])
            near.sendall(b"\5\0")
            host = near.recv(near.recv(5, socket.MSG_PEEK)[4] + 7)[5:-2]
            asked.append(host.decode())
            near.sendall(b"\5\0\0\1\0\0\0\0\0\0")
            relay(near, exchange.base_url)

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"socks5h://127.0.0.1:{port}", asked


def relay(near: socket.socket, api: str) -> None:
    """Connect a client that has been accepted with an API, until both have said all."""
    behind = urlsplit(api)
    with socket.create_connection((behind.hostname, behind.port), 10) as far:
        back = threading.Thread(target=copy, args=(far, near))
        back.start()
        copy(near, far)
        back.join()


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes, and that nothing more comes."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65_536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
def test_an_http_proxy_is_used_for_another_machine(
    variable: str, ask: Ask, proxy: tuple[str, list[str]]
) -> None:
    address, asked = proxy
    assert "BTC-PERPETUAL" in ask(ELSEWHERE, **{variable: f"http://{address}"}).stdout
    assert asked
    assert all(path.startswith(ELSEWHERE) for path in asked)


def test_a_socks_proxy_is_used_for_another_machine(ask: Ask, socks: tuple[str, list[str]]) -> None:
    address, asked = socks
    assert "BTC-PERPETUAL" in ask(ELSEWHERE, ALL_PROXY=address).stdout
    assert set(asked) == {"perps.invalid"}


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
def test_this_machine_is_asked_directly(variable: str, ask: Ask, exchange: RunningSimulator) -> None:
    done = ask(exchange.base_url, **{variable: f"http://{NOWHERE}"})
    assert "BTC-PERPETUAL" in done.stdout, done.stderr


def test_no_proxy_is_honoured(ask: Ask, proxy: tuple[str, list[str]]) -> None:
    done = ask(ELSEWHERE, HTTP_PROXY=f"http://{proxy[0]}", NO_PROXY="perps.invalid")
    assert proxy[1] == []
    assert ELSEWHERE in error_line(done)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", "http://"),
        ("HTTP_PROXY", "http://proxy:99999"),
        ("all_proxy", f"x://a:{SECRET}@proxy"),
    ],
)
def test_a_proxy_that_cannot_be_one_is_named_by_its_variable(variable: str, value: str, ask: Ask) -> None:
    done = ask(ELSEWHERE, **{variable: value})
    assert f" {variable}, " in error_line(done, 2)
    assert SECRET not in done.stderr


@pytest.mark.parametrize(("variable", "scheme"), [("HTTP_PROXY", "http"), ("ALL_PROXY", "socks5")])
def test_a_proxy_that_is_not_there_is_named(variable: str, scheme: str, ask: Ask) -> None:
    done = ask(ELSEWHERE, **{variable: f"{scheme}://ada:{SECRET}@{NOWHERE}"})
    assert f"through the proxy in {variable}" in error_line(done)
    assert SECRET not in done.stderr


def test_a_socks_proxy_without_pysocks_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"PySocks .*ALL_PROXY.*pip"):
        network.open_session(ELSEWHERE)


@pytest.fixture(scope="module")
def encrypted(
    exchange: RunningSimulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The simulator behind TLS: its address, and the certificate that nobody else trusts."""
    context, certificate = self_signed(tmp_path_factory.mktemp("certificate"), "DNS:localhost")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # of a client that does not trust it
                relay(context.wrap_socket(self.request, server_side=True), exchange.base_url)

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"https://localhost:{port}/api/v2", certificate


@pytest.mark.parametrize("variable", network.CERTIFICATES)
def test_certificates_of_ones_own_are_trusted(variable: str, ask: Ask, encrypted: tuple[str, Path]) -> None:
    done = ask(encrypted[0], **{variable: str(encrypted[1])})
    assert "BTC-PERPETUAL" in done.stdout, done.stderr


def test_an_unknown_certificate_says_which_variable_to_set(ask: Ask, encrypted: tuple[str, Path]) -> None:
    assert "set REQUESTS_CA_BUNDLE" in error_line(ask(encrypted[0]))
    done = ask(encrypted[0], SSL_CERT_FILE=requests.certs.where())
    assert "check SSL_CERT_FILE" in error_line(done)


@pytest.mark.parametrize("variable", network.CERTIFICATES)
@pytest.mark.parametrize("name", ["absent.pem", "empty.pem"])
def test_certificates_that_are_none_are_named_by_their_variable(
    variable: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").write_text("none")
    for other in VARIABLES:
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)
    monkeypatch.setenv(variable, str(tmp_path / name))
    with pytest.raises(UsageError, match=rf"{variable}, found none (at|in) .*{name}"):
        network.open_session("https://www.deribit.invalid/api/v2")
