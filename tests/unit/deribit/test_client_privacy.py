"""What the client sends, and to whom: no password of this machine, nothing without a certificate."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from extract.deribit.budget import TokenBucket
from extract.deribit.client import DeribitClient
from extract.deribit.errors import TransientError
from tests.support.tls import self_signed

NOW_MS = 1_700_000_000_000
ANSWER = b'{"result": 1700000000000, "usOut": 1700000000000000}'


class Listener(ThreadingHTTPServer):
    """Answers everything with the time, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """Say nothing of a client that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def client(url: str) -> DeribitClient:
    return DeribitClient(url, TokenBucket(1000, 100), attempts=1, sleep=lambda _: None)


def test_passwords_of_netrc_are_not_sent(listener, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password s3cret\ndefault login ada password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert client(listener.url()).server_time().result == NOW_MS
    # of this machine's API nothing is read from the environment anyway
    monkeypatch.setenv("http_proxy", listener.url())
    assert client("http://deribit.invalid/api").server_time().result == NOW_MS
    assert len(listener.asked) == 2
    for _, headers in listener.asked:
        assert "authorization" not in headers
        assert "cookie" not in headers


def test_a_proxy_of_the_environment_is_used(listener, monkeypatch):
    monkeypatch.setenv("http_proxy", listener.url())
    assert client("http://deribit.invalid/api").server_time().result == NOW_MS
    assert [path for path, _ in listener.asked] == ["http://deribit.invalid/api/public/get_time"]


def test_a_certificate_that_nobody_vouches_for_is_refused_whatever_the_environment_says(
    listener, tmp_path: Path, monkeypatch
):
    context, certificate = self_signed(tmp_path, "IP:127.0.0.1")
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
    with pytest.raises(TransientError, match="got SSLError"):
        client(listener.url("https")).server_time()
    assert listener.asked == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))  # it was nothing but the certificate
    assert client(listener.url("https")).server_time().result == NOW_MS
