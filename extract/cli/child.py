"""Runs a command for a Python program in a new process, so that the program's own stays unchanged.

See `extract.api`.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
from multiprocessing import connection

from extract.cli.ending import endable
from extract.cli.main import carry_out, do_without_data_frames, unexpected
from extract.errors import PerpsError, interrupt_behind

log = logging.getLogger(__name__)


def main(descriptor: int) -> None:
    """Receive one command from a pipe, carry it out, and send back its result or its error.

    Args:
        descriptor: of the pipe. The command ends when the other end closes, because that process has ended.
    """
    os.set_inheritable(descriptor, False)
    pipe = connection.Connection(descriptor)
    args = pipe.recv()
    threading.Thread(target=_end_with, args=(pipe,), name="parent", daemon=True).start()
    do_without_data_frames()
    try:
        with endable():
            module, _, name = args.run.partition(":")
            args.run = getattr(importlib.import_module(f"extract.cli.{module}"), name)
            answer = carry_out(args)
    except PerpsError as error:
        log.error("%s", error)
        answer = error
    except (Exception, KeyboardInterrupt) as error:
        if interrupt_behind(error):
            return
        log.exception("unexpected failure")
        answer = PerpsError(unexpected(error))
    pipe.send(answer)


def _end_with(pipe: connection.Connection) -> None:
    connection.wait([pipe])
    os.kill(os.getpid(), signal.SIGINT)
