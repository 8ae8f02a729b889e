"""SIGINT and SIGTERM end a command cleanly, and within seconds, whatever it is waiting for.

Python runs a signal handler only between two instructions of the main thread. So the handler cannot run while
the main thread waits inside libpq, for a lock or for the network. A second thread also receives the signal,
and ends the process if the main thread does not.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

GRACE_S = 7.0
"""Seconds that a command has to end cleanly after a signal; Docker kills it after 10."""

INTERRUPTED = "interrupted: what was loaded is safe, run the same command again"


class TerminatedError(KeyboardInterrupt):
    """The process received SIGTERM, which schedulers and containers send."""


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of an interrupted command: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, TerminatedError) else signal.SIGINT)


@contextmanager
def endable() -> Iterator[None]:
    """Let both signals raise an interrupt in the block; a second one, or `GRACE_S`, ends the process at once.

    It has no effect outside the main thread, nor on signals that the process ignores from its start, as under
    nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    left = threading.Event()
    listener = threading.Thread(target=_listen, args=(receiver, left), name="signals", daemon=True)
    numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    listener.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        sender.close()


def _interrupt(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # dbt would print the traceback of the interrupt there
    raise TerminatedError if number == signal.SIGTERM else KeyboardInterrupt


def _listen(receiver: socket.socket, left: threading.Event) -> None:
    """Wait for a signal, then for a second one or for the end of `GRACE_S`.

    `GRACE_S` also runs while the interpreter waits for its threads, after the block.
    """
    with receiver:
        number = _next(receiver)
        if number is None:
            return
        give_up = time.monotonic() + GRACE_S
        receiver.settimeout(GRACE_S)
        with suppress(TimeoutError):
            if _next(receiver) is None:
                time.sleep(max(0.0, give_up - time.monotonic()))
    if not left.is_set():
        print(INTERRUPTED, file=sys.stderr, flush=True)  # the main thread is blocked
    os._exit(128 + number)


def _next(receiver: socket.socket) -> int | None:
    """Return the next SIGINT or SIGTERM; None once the block has ended."""
    while received := receiver.recv(1):
        if received[0] in (signal.SIGINT, signal.SIGTERM):
            return received[0]
    return None
