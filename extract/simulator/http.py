"""The simulator on a loopback socket: HTTP/1.1 with keep-alive, one thread a connection."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from extract.simulator.control import CONTROL_PATH, control
from extract.simulator.simulator import API_PATH, Simulator
from extract.simulator.wire import Response

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_RESET = struct.pack("ii", 1, 0)  # linger on, zero seconds: close sends RST


class SimulatorServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1; `port` 0 means any free port. Raises OSError if the port is in use."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, simulator: Simulator, port: int = 0) -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((_HOST, port), _Handler)

    @property
    def base_url(self) -> str:
        """Return the base URL, to use instead of https://www.deribit.com/api/v2."""
        return f"http://{_HOST}:{self.server_address[1]}/api/v2"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that stopping can end it."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Stop listening and end every connection, hanging replies too."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the connection has already ended
                log.debug("a connection was already closed")

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # the base class's
        """Log what a handler raised; only at debug level if the client closed the connection."""
        gone = isinstance(sys.exception(), OSError)
        log.log(logging.DEBUG if gone else logging.ERROR, "a connection ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SimulatorServer

    def do_GET(self) -> None:
        self._send(self._answer("GET", b""))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._send(self._answer("POST", body))

    def _answer(self, verb: str, body: bytes) -> Response:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        simulator = self.server.simulator
        if url.path.startswith(CONTROL_PATH):
            return control(simulator, verb, url.path.removeprefix(CONTROL_PATH), query, body)
        if url.path.startswith(API_PATH) and verb == "GET":
            return simulator.answer(url.path.removeprefix(API_PATH), query)
        return Response(404, b"not found\n", "text/plain")

    def _send(self, answer: Response) -> None:
        if answer.delay:
            self.server.stopping.wait(answer.delay)
        if answer.reset:
            self._reset()
            return
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:  # a status of proxies, such as 520, which http.HTTPStatus does not have
            phrase = "Unknown"
        closes = bool(answer.promised)
        headers = {
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body) * answer.repeat + answer.promised),
            "X-Perps-Simulator": self.server.simulator.market.label,
            **({"Connection": "close"} if closes else {}),
            **answer.headers,
        }
        lines = [
            f"HTTP/1.1 {answer.status} {phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if answer.reset_after is not None:
            self.wfile.write(head + answer.body[: answer.reset_after])
            self._reset()
            return
        if answer.pause:
            self.wfile.write(head)
            self._drip(answer)
        else:
            self.wfile.write(head + answer.body)
            for _ in range(answer.repeat - 1):
                self.wfile.write(answer.body)
        self.close_connection = self.close_connection or closes

    def _drip(self, answer: Response) -> None:
        for byte in answer.body:
            self.wfile.write(bytes([byte]))
            if self.server.stopping.wait(answer.pause):
                return

    def _reset(self) -> None:
        self.close_connection = True
        with socket.socket(fileno=self.connection.detach()) as bare:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
