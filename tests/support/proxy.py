"""A real TCP proxy on this machine that can cut, swallow and slow down what goes through it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from extract.database.database import Database

HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close that sends RST and forgets what was not sent


@dataclass
class Link:
    """One connection through the proxy.

    Attributes:
        client, server: its two sockets.
        number: how many came before it.
        sent: bytes that the client has sent.
        deaf: whether what either side says is read and thrown away.
        stalled: whether nothing is read any more, until it is cut.
        over: set when it is cut.
    """

    client: socket.socket
    server: socket.socket
    number: int
    sent: int = 0
    deaf: bool = False
    stalled: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def cut(self) -> None:
        """Reset both sides."""
        self.over.set()
        for side in (self.client, self.server):
            with suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                side.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
            side.close()


@dataclass
class Proxy:
    """Forwards every connection to `target`; faults are switched on while it runs.

    Attributes:
        target: where it forwards to.
        delay_s: wait before each piece is passed on.
        piece: bytes passed on at once, at most.
        deaf: whether new connections are taken and never answered.
        buffer: bytes that the kernel keeps of what a client has sent; 0 for its own choice.
        links: every connection so far.
    """

    target: tuple[str, int]
    delay_s: float = 0.0
    piece: int = 65536
    deaf: bool = False
    buffer: int = 0
    links: list[Link] = field(default_factory=list)
    _listener: socket.socket | None = None
    _trigger: tuple[int, Callable[[Link], None]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, port: int = 0) -> int:
        """Listen on a port, 0 for any; return it."""
        self._listener = socket.create_server((HOST, port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return int(self._listener.getsockname()[1])

    def stop(self) -> None:
        """Stop listening, and reset every connection."""
        if self._listener:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for link in self.links:
            link.cut()

    def swallow(self) -> None:
        """Leave every connection open, and let nothing through for ever, on new ones neither."""
        self.deaf = True
        for link in self.links:
            link.deaf = True

    def once(self, sent: int, act: Callable[[Link], None]) -> None:
        """Call `act` with the first connection whose client has sent more than `sent` bytes."""
        self._trigger = (sent, act)

    @property
    def triggered(self) -> bool:
        """Tell whether what was named with `once` has happened."""
        return self._trigger is None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                if self.buffer:  # inherited by what is accepted
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
                client, _ = listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                return
            link = Link(client, server, len(self.links), deaf=self.deaf)
            self.links.append(link)
            for upstream in (True, False):
                threading.Thread(target=self._pump, args=(link, upstream), daemon=True).start()

    def _pump(self, link: Link, upstream: bool) -> None:
        source, sink = (link.client, link.server) if upstream else (link.server, link.client)
        with suppress(OSError):
            while data := source.recv(self.piece):
                if link.stalled:
                    link.over.wait()
                if self.delay_s:
                    time.sleep(self.delay_s)
                if upstream:
                    link.sent += len(data)
                    self._pull(link)
                if not link.deaf:
                    sink.sendall(data)
        if not link.deaf:
            for side in (link.client, link.server):
                with suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)

    def _pull(self, link: Link) -> None:
        with self._lock:
            if self._trigger is None or link.sent <= self._trigger[0]:
                return
            act, self._trigger = self._trigger[1], None
        try:
            act(link)
        except BaseException:
            link.cut()  # so that nobody waits for a thread that is gone
            raise


@contextmanager
def proxied(database: Database) -> Iterator[tuple[Proxy, Database]]:
    """Yield a proxy before a database, and the database as reached through it."""
    proxy = Proxy((database.host, database.port))
    port = proxy.start()
    try:
        yield proxy, replace(database, host=HOST, port=port)
    finally:
        proxy.stop()
